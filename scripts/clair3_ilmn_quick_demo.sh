#!/usr/bin/env bash
# Install, call the Illumina reads of the sample with the default model, evaluate the calls.
exec bash "$(dirname "$0")/quick_demo.sh" ilmn

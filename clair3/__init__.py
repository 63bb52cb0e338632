"""Networks, decoding, VCF and the calling pipeline."""

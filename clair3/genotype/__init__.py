"""What the outputs of the networks mean: classes, labels, hypotheses, alleles, decoding."""

"""How good calls are: compare them with the truth, haplotype by haplotype.

variants (records as changes) -> matching (which spell the same) -> classify (TP, FP, FN inside the BED) -> counting
(precision, recall, strata) -> report (text, JSON, plot).
"""

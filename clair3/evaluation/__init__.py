"""How good calls are: compare them with the truth, haplotype by haplotype.

variants (records as changes) -> matching (which spell the same) -> judging (verdicts inside the BED) -> counting
(precision, recall, strata) -> report (text, JSON, plot).
"""

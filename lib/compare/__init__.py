"""`ocidriver compare`: finds out whether one run is faster than another, beyond noise. The load test does not use it.

Data flows: summaries → bins → bootstrap → quantities → comparison → wording → formats. The page goes on with
run_styles → forest, charts → page.
"""

"""`ocidriver compare`: finds out whether one run is faster than another, and how sure that is.

Data flows: summaries → bins → bootstrap → quantities → comparison → wording, answer → formats. The page goes on with
run_styles → forest, charts → page.
"""

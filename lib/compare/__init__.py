"""`ocidriver compare`: is one run faster than another, and is that more than noise. The load test needs none of it.

Data flows summaries → bins → bootstrap → quantities → told → words → formats, or sides → forest, charts → page.
"""

"""In: an opened Dataset. Out: a CheckReport: what is in it, and each Fault with its remedy.

findings.py reads one item, faults.py judges the whole set, check.py runs both in threads and writes nothing.
"""

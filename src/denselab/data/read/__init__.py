"""In: files and their names. Out: their pixels, which label belongs to which picture, and what the labels mean.

tree.py lists a folder, pairing.py, lists.py and names.py read its names, lists and class names; images.py decodes,
scan.py counts, infer.py and likeness.py work out the encoding; shapes.py draws polygons; recognise.py finds the layout.
"""

"""In: files and their names. Out: their pixels, which label belongs to which picture, and what the labels mean.

Names: tree.py lists a folder, pairing.py finds pairs, lists.py and split_tables.py splits, names.py class names;
recognise.py finds the layout.

Pictures: images.py, with opening.py (Pillow), tiff.py, png16.py, pnm.py, colour_models.py; depth.py and white.py scale
more than 8 bits.

Labels: encodings.py decodes, scan.py counts, infer.py, likeness.py and label_table.py infer encoding and table;
shapes.py and polygons.py draw.
"""

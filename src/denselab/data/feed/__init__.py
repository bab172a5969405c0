"""In: items of a Dataset and an Augmentation. Out: batches for training, runs of whole pictures for validation.

loading.py orders and batches, transforms.py draws the augmentation, resizing/ and elastic.py carry it out in one pass,
cache.py keeps decoded pictures, weight_map.py makes loss weights.
"""

"""In: a seed and a size. Out: a street scene as picture and exact label map, or a whole data set of them on disk.

scene_canvas.py has noise, masks and paint; scene_things.py what stands in a scene; synthetic.py composes and writes.
"""

"""An exported model with onnxruntime, numpy and Pillow alone: a picture in, its label PNG and class shares out.

denselab export runs/streets --labels --out exported
python onnx_labels.py exported/labels.onnx photo.jpg labels.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, photo, target = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
table = json.loads(session.get_modelmeta().custom_metadata_map["denselab.labels"])
picture = np.asarray(ImageOps.exif_transpose(Image.open(photo)).convert("RGB"))
labels = session.run(["labels"], {"rgb": picture[None]})[0][0]
Image.fromarray(labels).save(target)
for row in table:
    share = float((labels == row["id"]).mean())
    if share > 0:
        print(f"{row['name']:20} {100 * share:5.1f} %")

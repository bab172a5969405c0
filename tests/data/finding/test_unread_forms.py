"""Forms of labels that are not read: they are named, with the way to one that is."""

import json

import numpy as np
import pytest

from denselab.data import open_dataset
from denselab.errors import DataError

BOX = {"image": "a.png", "annotations": [{"label": "x", "coordinates": {"x": 1, "y": 1, "width": 2, "height": 2}}]}
ANNOTATION = {"type": "Feature", "geometry": {}, "properties": {"objectType": "annotation"}}


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("annotations/a.json", {"version": "2.0", "item": {"name": "a.png"}, "annotations": []}, "Darwin.*COCO"),
        ("a.png___pixel.json", {"metadata": {"name": "a.png"}, "instances": []}, "SuperAnnotate.*COCO"),
        ("export.json", [{"data_row": {"id": 1}}], "Labelbox.*labels/ beside images/"),
        ("annotations/default.json", {"categories": {"label": {}}, "items": [{"id": "a"}]}, "Datumaro.*coco"),
        ("v1.json", {"dataset": {"samples": []}}, "Segments.ai"),
        ("boxes.json", [BOX], "CreateML.*boxes"),
        ("labels.geojson", {"type": "FeatureCollection", "features": []}, "GIS.*gdal_rasterize"),
        ("qupath.json", {"type": "FeatureCollection", "features": []}, "GIS"),
        ("labels/fields.shp", "x", "GIS"),
        ("train/a.tfrecord", "x", "TensorFlow records.*COCO"),
        ("data/train.parquet", "x", "Parquet.*files"),
        ("train/case.npz", "x", "NumPy archives"),
        ("imagesTr/a_0000.nii.gz", "x", "volumes.*slice"),
        ("data.zip", "x", "unpack"),
        ("a.roi", "x", "ImageJ"),
        ("sa_1.json", {"image": {}, "annotations": [{"crop_box": [], "segmentation": {}}]}, "Segment Anything.*class"),
        ("a.json", {"dataset": "x", "image": {"filename": "a.png"}, "annotations": []}, "Darwin.*COCO"),
        ("a.geojson", {"type": "FeatureCollection", "features": [ANNOTATION]}, "QuPath.*export labelled images"),
        ("a.geojson", [ANNOTATION], "QuPath.*export labelled images"),
        ("train/data-00000-of-00001.arrow", "x", "Arrow.*files"),
        ("labels.zarr/0/0.0", "x", "Zarr.*files"),
        ("shapes.csv", "index,shape-type,vertex-index,axis-0,axis-1\n0.0,polygon,0.0,1,1\n", "napari.*to_labels"),
        ("project.csv", "annotation_id,annotator,image,label\n1,1,a.png,x\n", "Label Studio.*as JSON"),
        ("summary.csv", "ImageId,BuildingId,PolygonWKT_Pix\n", "WKT.*COCO"),
        ("masks.pt", "x", "PyTorch.*files"),
        ("polygons.mat", "x", "MATLAB.*labels/ beside images/"),
        ("label_data.json", 2 * '{"lanes": [[1]], "h_samples": [2], "raw_file": "a.png"}\n', "TuSimple.*draw them"),
        ("photo.HEIC", "x", "HEIC.*JPEG"),
        ("images/task-1-annotation-2-by-1-tag-cat-0.npy", "x", "Label Studio.*as JSON"),
        ("Annotations/a.xml", "<?xml?><Annotations><Annotation/></Annotations>", "Aperio.*labels/ beside images/"),
        ("a.xcf", "x", "layers of GIMP.*labels/ beside images/"),
        ("images/a.psd", "x", "layers of Photoshop.*export the layer"),
        ("annotations/a.svg", "x", "outlines as SVG.*draw them"),
        ("a_RoiSet.zip", "x", "ROIs of ImageJ.*label map"),
        ("labels/a.regions.txt", " ".join("0" * 20) + "\n", r"rows of numbers as text.*np\.loadtxt"),
        ("labels/a.txt", " ".join("0" * 20) + "\n", r"rows of numbers as text"),
        ("labels/a.csv", ",".join("1" * 20) + "\n", r"rows of numbers as text"),
        ("a.json", {"info": {"description": "ISAT"}, "objects": []}, "ISAT.*ISAT to COCO"),
        ("vott-json-export/a-export.json", {"name": "a", "tags": [], "assets": {}}, "VoTT.*labels/ beside images/"),
        (
            "polygons.jsonl",
            '{"id": "a", "annotations": [{"type": "vessel", "coordinates": [[[0, 0], [2, 0], [2, 2]]]}]}\n',
            "polygons.jsonl.*draw them into pictures",
        ),
        ("labels/a.json", {"id": "c1", "externalId": "a", "labels": []}, "Kili.*COCO"),
        (
            "train_annotations.jsonl",
            {"image_url": "azureml://a.png", "image_details": {"format": "png"}, "label": [{"label": "x", "polygon": []}]},
            "Azure Machine Learning.*COCO",
        ),
        ("annotations.jsonl", {"image": "a.png", "_task_hash": 1, "spans": [{"label": "x"}]}, "Prodigy.*labels/ beside images/"),
        ("labels.json", {"frames": [{"name": "a.png", "labels": [{"poly2d": []}]}], "config": {}}, "Scalabel.*COCO"),
        ("labels.json", [{"name": "a.png", "labels": [{"poly2d": []}]}], "Scalabel.*COCO"),
        ("task.json", [{"id": 1, "fileName": "a.png", "result": "{}"}], "LabelU.*COCO"),
        ("hasty.json", {"project_name": "x", "label_classes": [], "images": [{"image_name": "a.png"}]}, "Hasty"),
    ],
)  # fmt: skip
def test_it_is_named(save, photo, write, tmp_path, file, content, told):
    """All of them were "pictures, but no labels in a known layout"."""
    save("images/a.png", photo())
    write(file, content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=told):
        open_dataset(tmp_path)


def test_pictures_alone(save, photo, tmp_path):
    save("images/a.png", photo())
    with pytest.raises(DataError, match=r"labels/ beside images/, or write `images: FOLDER` and `masks: FOLDER`"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("export.json", '{"tool": "new", "things": [{"of": "a.png", "line": [[0, 0], [3, 0], [3, 3]]}]}'),
        ("a.xml", "<thing/>"),
        ("shapes.csv", "picture,x,y\na.png,0,0\n"),
    ],
)
def test_a_file_in_no_known_form_that_is_about_the_pictures_is_named(save, photo, write, tmp_path, file, content):
    """Annotations of any other tool were not mentioned: "no labels in a known layout" beside a json full of them."""
    save("images/a.png", photo())
    write(file, content)
    with pytest.raises(DataError, match=rf"{file} is about them, in a form that is not known; export it as COCO json"):
        open_dataset(tmp_path)


def test_a_file_about_other_things_is_not(save, photo, write, tmp_path):
    save("images/a.png", photo())
    write("licence.json", '{"licence": "CC"}')
    with pytest.raises(DataError, match=r"no labels in a known layout; put label PNGs"):
        open_dataset(tmp_path)


def test_labels_without_their_pictures(save, tmp_path):
    """CVAT's masks exported without the pictures were called pictures without labels."""
    for name in "ab":
        save(f"SegmentationClass/{name}.png", [[0, 1]])
        save(f"SegmentationObject/{name}.png", [[0, 1]])
    with pytest.raises(DataError, match=r"4 pictures, all in folders of labels .* into a folder images/ beside them"):
        open_dataset(tmp_path)


def test_pictures_in_one_array(tmp_path):
    """ "2 pictures, but no labels" was said of X_train.npy and Y_train.npy."""
    np.save(tmp_path / "X_train.npy", np.zeros((5, 4, 6, 3), np.uint8))
    np.save(tmp_path / "Y_train.npy", np.zeros((5, 4, 6), np.uint8))
    with pytest.raises(DataError, match=r"many pictures in one array \(X_train\.npy\).*fromarray\(X\[0\]\)"):
        open_dataset(tmp_path)

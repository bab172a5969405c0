"""In: the Tree of a folder. Out: Found, its pictures with their labels. One file per family of layouts.

A recogniser returns Found for its own layout, None for any other, and raises DataError where files of its layout
cannot be used. RECOGNISERS has the order in which they are tried.
"""

from collections.abc import Callable

from denselab.data.folders.folder import find_folder
from denselab.data.item import Found
from denselab.data.layouts.ade20k import find_ade20k
from denselab.data.layouts.annotated import MALFORMED, fault
from denselab.data.layouts.bdd100k import find_bdd100k
from denselab.data.layouts.camvid import find_camvid
from denselab.data.layouts.cell_tracking import find_cell_tracking
from denselab.data.layouts.coco import find_coco
from denselab.data.layouts.label_studio import find_label_studio
from denselab.data.layouts.label_studio_json import find_label_studio_json
from denselab.data.layouts.labelme import find_labelme
from denselab.data.layouts.nnunet import find_nnunet
from denselab.data.layouts.objects import find_objects
from denselab.data.layouts.rle_csv import find_rle_csv
from denselab.data.layouts.streets import find_cityscapes, find_kitti, find_mapillary
from denselab.data.layouts.supervisely import find_supervisely
from denselab.data.layouts.via import find_via
from denselab.data.layouts.voc import find_voc
from denselab.data.layouts.xml_file import find_cvat, find_labelme_xml
from denselab.data.layouts.yolo import find_yolo
from denselab.data.listing.tree import Tree
from denselab.errors import DataError
from denselab.in_words import first_few

Recogniser = Callable[[Tree], Found | None]


def malformed_as_data_error(find: Recogniser) -> Recogniser:
    """`find`, with a DataError that names the annotation files in place of the errors of a malformed record."""

    def read(tree: Tree) -> Found | None:
        try:
            return find(tree)
        except MALFORMED as error:
            files = first_few(map(str, tree.with_suffix(".json", ".xml")))
            raise DataError(
                f"{tree.root}: a record in {files} lacks something or has it in another form ({fault(error)}); "
                "export the annotations again, or take them out"
            ) from error

    return read


# From the most particular to the most general: the first that finds its own layout takes it.
RECOGNISERS: tuple[tuple[str, Recogniser], ...] = (
    ("camvid", find_camvid),
    ("cityscapes", find_cityscapes),
    ("mapillary", malformed_as_data_error(find_mapillary)),
    ("kitti", find_kitti),
    ("ade20k", find_ade20k),
    ("bdd100k", find_bdd100k),
    ("voc", find_voc),
    ("nnunet", find_nnunet),
    ("supervisely", malformed_as_data_error(find_supervisely)),
    ("coco", malformed_as_data_error(find_coco)),
    ("labelme", malformed_as_data_error(find_labelme)),
    ("labelme-xml", malformed_as_data_error(find_labelme_xml)),
    ("cvat", malformed_as_data_error(find_cvat)),
    ("via", malformed_as_data_error(find_via)),
    ("label-studio-json", malformed_as_data_error(find_label_studio_json)),
    ("label-studio", find_label_studio),
    ("objects", find_objects),
    ("cell-tracking", find_cell_tracking),
    ("rle-csv", find_rle_csv),
    ("yolo", find_yolo),
    ("folders", find_folder),
)

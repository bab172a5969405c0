"""One file per family of layouts; the order in which they are tried.

Each takes a Tree and gives Found, None where it does not fit, or raises DataError.
"""

from collections.abc import Callable

from denselab.data.item import Found
from denselab.data.layouts.ade20k import find_ade20k
from denselab.data.layouts.camvid import find_camvid
from denselab.data.layouts.coco import find_coco
from denselab.data.layouts.folder import find_folder
from denselab.data.layouts.labelme import find_labelme
from denselab.data.layouts.objects import find_objects
from denselab.data.layouts.streets import find_cityscapes, find_kitti, find_mapillary
from denselab.data.layouts.voc import find_voc
from denselab.data.layouts.xml_file import find_cvat, find_labelme_xml
from denselab.data.tree import Tree

Recogniser = Callable[[Tree], Found | None]

# From the most particular to the most general: the first that finds its own layout takes it.
RECOGNISERS: tuple[tuple[str, Recogniser], ...] = (
    ("camvid", find_camvid),
    ("cityscapes", find_cityscapes),
    ("mapillary", find_mapillary),
    ("kitti", find_kitti),
    ("ade20k", find_ade20k),
    ("voc", find_voc),
    ("coco", find_coco),
    ("labelme", find_labelme),
    ("labelme-xml", find_labelme_xml),
    ("cvat", find_cvat),
    ("objects", find_objects),
    ("folders", find_folder),
)

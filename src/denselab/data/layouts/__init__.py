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
from denselab.data.read.tree import Tree, some
from denselab.errors import DataError

Recogniser = Callable[[Tree], Found | None]
# What reading a json or xml of another form than its tool's ends in.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def understood(find: Recogniser) -> Recogniser:
    """`find`, where DataError names the annotation files in the place of whatever a record of a wrong form leads to."""

    def read(tree: Tree) -> Found | None:
        try:
            return find(tree)
        except MALFORMED as error:
            files = some(map(str, tree.with_suffix(".json", ".xml")))
            raise DataError(
                f"{tree.root}: a record in {files} lacks something or has it in another form ({error!r}); "
                "export the annotations again, or take them out"
            ) from error

    return read


# From the most particular to the most general: the first that finds its own layout takes it.
RECOGNISERS: tuple[tuple[str, Recogniser], ...] = (
    ("camvid", find_camvid),
    ("cityscapes", find_cityscapes),
    ("mapillary", understood(find_mapillary)),
    ("kitti", find_kitti),
    ("ade20k", find_ade20k),
    ("voc", find_voc),
    ("coco", understood(find_coco)),
    ("labelme", understood(find_labelme)),
    ("labelme-xml", understood(find_labelme_xml)),
    ("cvat", understood(find_cvat)),
    ("objects", find_objects),
    ("folders", find_folder),
)

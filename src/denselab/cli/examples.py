"""The lines under `denselab COMMAND --help`: what people do most with each command. A test parses every one."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("denselab demo --out runs/demo",),
    "check": ("denselab check data/", "denselab check data/ --json"),
    "train": (
        "denselab train data/ --time 30m --out runs/streets",
        "denselab train data/ --model unet --encoder resnet34 --epochs 50 --imgsz 384x384",
        "denselab train VOC --config fcn8s-voc",
        "denselab train data/ --time 30m lr=1e-3 flip=no",
        "denselab train data/ --labels boxes --time 10m strong=4",
        "denselab train data/ --time 10m --dry-run",
        "denselab train data/ --out runs/streets --resume",
    ),
    "eval": (
        "denselab eval runs/streets data/ --split test",
        "denselab eval runs/streets data/ --tta --crf --out scores/",
        "denselab eval runs/fruit data/ --proposals windows",
        "denselab eval runs/deconvnet runs/fcn8s data/ --ensemble fit --save models/both",
        "denselab eval runs/deconvnet runs/fcn8s data/ --ensemble edeconvnet+crf",
    ),
    "compare": (
        "denselab compare data/ --models fcn8s,unet,deeplabv3plus --time 30m --out compare/streets",
        "denselab compare data/ --models unet:resnet34 --with runs/streets --budget steps 2000 --out compare/two",
        "denselab compare data/ --models unet,segnet --folds 5 --seeds 0,1,2 --time 10m --dry-run",
        "denselab compare data/ --out compare/streets --resume",
    ),
    "diagnose": (
        "denselab diagnose runs/streets data/ --out look/",
        "denselab diagnose compare/streets/runs/unet-fold*-seed0 data/ --out look/",
        "denselab diagnose runs/streets data/ --calibrate",
    ),
    "pseudo-label": (
        "denselab pseudo-label runs/fruit data/ unlabelled/ --out more/",
        "denselab pseudo-label models/both data/ unlabelled/ --confidence 0.95 --tta --out more/",
    ),
    "predict": (
        "denselab predict runs/streets photos/ --out out/",
        "denselab predict runs/streets huge.tif --window 512x512 --out out/",
        "denselab predict runs/fruit photos/ --proposals windows --aggregate mean --out out/",
        "denselab predict runs/streets photos/*.jpg --probs npz --json --out out/",
        "denselab predict runs/fields scene.tif --window 512x512 --polygons fields.geojson --out out/",
        "denselab predict runs/streets drive.mp4 --smooth flow --out out/",
        "denselab predict runs/streets photos/ --shard 2/8 --out out/",
        "denselab predict runs/waste test/ --format csv --imgsz 256 --out submission/",
    ),
    "refine": (
        "denselab refine photo.jpg probs.npz --out out/",
        "denselab refine photos/ probs/ --preset deeplab_v2 --iterations 10 --out out/",
    ),
    "crf tune": ("denselab crf tune runs/streets data/ --time 10m",),
    "models": ("denselab models", "denselab models --json"),
    "info": (
        "denselab info fcn8s",
        "denselab info deeplabv3plus --encoder resnet50 --imgsz 513x513 --all",
        "denselab info unet_paper unet.svg --diagram",
    ),
    "explain": (
        "denselab explain --out look/",
        "denselab explain runs/streets photo.jpg --out look/",
        "denselab explain runs/deconvnet photo.jpg --proposals edgeboxes --against runs/fcn8s --out look/",
    ),
    "convert": (
        "denselab convert fcn8s-heavy-pascal.caffemodel --from caffe --model fcn8s --out models/fcn8s",
        "denselab convert resnet50.pth --from torchvision --model deeplabv3_resnet50 --out models/resnet",
    ),
    "export": (
        "denselab export runs/streets --to onnx --out exported/",
        "denselab export runs/streets --to openvino --int8 --check data/ --out fast/",
        "denselab export runs/streets --to openvino --bf16 --check data/ --out fast/",
        "denselab export runs/streets --labels --out for-the-web/",
    ),
    "doctor": ("denselab doctor",),
}


def epilog(command: str) -> str:
    """The examples of a command for the end of its help page, a paragraph each, since help pages join lines."""
    return "\n\n".join(("Examples:", *EXAMPLES[command]))

"""Published figures of restorers on the test sets of ``testsets.py``, each with its source.

SwinIR's table of noise repeats BM3D, DnCNN and FFDNet. For DnCNN it differs from FFDNet's by up to
0.12 dB. For BM3D on Kodak24 at sigma 25 it has 32.15 dB, FFDNet's 31.68; both stand here.
"""

from typing import NamedTuple

from benchmarks.testsets import Task

SOURCES = {
    "FFDNet": "github.com/cszn/FFDNet, figs/table2.png",
    "FBCNN": "github.com/jiaxi-jiang/FBCNN, figs/single_table.png",
    "SwinIR noise": "github.com/JingyunLiang/SwinIR, figs/color_image_denoising.png",
    "SwinIR jpeg": "github.com/JingyunLiang/SwinIR, figs/jepg_compress_artfact_reduction.png",
    "SwinIR colour": "github.com/JingyunLiang/SwinIR, README.md, JPEG on colour images",
    "SwinIR sr": "github.com/JingyunLiang/SwinIR, figs/classic_image_sr.png",
    "SwinIR light": "github.com/JingyunLiang/SwinIR, figs/lightweight_image_sr.png",
    "Swin2SR": "arXiv 2209.11345 (Swin2SR), Table 2",
    "IRN": "github.com/pkuxmq/Invertible-Image-Rescaling, README.md",
}

INPUT = "input"  # the rows that ours of this name should equal


class Published(NamedTuple):
    """A row of a published table; ``ssim`` is None where the table has none."""

    row: str
    psnr: float
    ssim: float | None
    source: str


# Source, row: PSNR by set, at sigma 15, 25, 50, 75 (the last only in FFDNet's table).
NOISE_LEVELS = (15, 25, 50, 75)
NOISE = [
    ("FFDNet", "BM3D", {"CBSD68": "33.52 30.71 27.38 25.74", "Kodak24": "34.28 31.68 28.46 26.82",
                        "McMaster": "34.06 31.66 28.51 26.79"}),
    ("FFDNet", "DnCNN", {"CBSD68": "33.89 31.23 27.92 24.47", "Kodak24": "34.48 32.03 28.85 25.04",
                         "McMaster": "33.44 31.51 28.61 25.10"}),
    ("FFDNet", "FFDNet", {"CBSD68": "33.87 31.21 27.96 26.24", "Kodak24": "34.63 32.13 28.98 27.27",
                          "McMaster": "34.66 32.35 29.18 27.33"}),
    ("SwinIR noise", "BM3D", {"Kodak24": "- 32.15 -"}),
    ("SwinIR noise", "BRDNet", {"CBSD68": "34.10 31.43 28.16", "Kodak24": "34.88 32.41 29.22",
                                "McMaster": "35.08 32.75 29.52"}),
    ("SwinIR noise", "DRUNet", {"CBSD68": "34.30 31.69 28.51", "Kodak24": "35.31 32.89 29.86",
                                "McMaster": "35.40 33.14 30.08"}),
    ("SwinIR noise", "SwinIR", {"CBSD68": "34.42 31.78 28.56", "Kodak24": "35.34 32.89 29.79",
                                "McMaster": "35.61 33.20 30.22"}),
]  # fmt: skip

# Source, row: PSNR/SSIM by set, at quality 10, 20, 30, 40.
JPEG_LEVELS = (10, 20, 30, 40)
JPEG = [
    ("FBCNN", INPUT, {
        "Classic5": "27.82/0.760 30.12/0.834 31.48/0.867 32.43/0.885",
        "LIVE1_gray": "27.77/0.773 30.07/0.851 31.41/0.885 32.35/0.904"}),
    ("FBCNN", "ARCNN", {
        "Classic5": "29.03/0.793 31.15/0.852 32.51/0.881 33.32/0.895",
        "LIVE1_gray": "28.96/0.808 31.29/0.873 32.67/0.904 33.61/0.920"}),
    ("FBCNN", "DnCNN", {
        "Classic5": "29.40/0.803 31.63/0.861 32.91/0.886 33.77/0.900",
        "LIVE1_gray": "29.19/0.812 31.59/0.880 32.98/0.909 33.96/0.925"}),
    ("FBCNN", "FBCNN", {
        "Classic5": "30.12/0.822 32.31/0.872 33.54/0.894 34.35/0.907",
        "LIVE1_gray": "29.75/0.827 32.13/0.889 33.54/0.916 34.53/0.931"}),
    ("SwinIR jpeg", "DRUNet", {
        "Classic5": "30.16/0.8234 32.39/0.8734 33.59/0.8949 34.41/0.9075",
        "LIVE1_gray": "29.79/0.8278 32.17/0.8899 33.59/0.9166 34.58/0.9312"}),
    ("SwinIR jpeg", "SwinIR", {
        "Classic5": "30.27/0.8249 32.52/0.8748 33.73/0.8961 34.52/0.9082",
        "LIVE1_gray": "29.86/0.8287 32.25/0.8909 33.69/0.9174 34.67/0.9317"}),
    ("Swin2SR", INPUT, {"LIVE1_color": "25.69/0.74 - - 30.28/0.88"}),
    ("Swin2SR", "QGAC", {"LIVE1_color": "27.62/0.80 - - 32.05/0.91"}),
    ("Swin2SR", "FBCNN", {"LIVE1_color": "27.77/0.80 - - 32.34/0.91"}),
    ("Swin2SR", "Swin2SR", {"LIVE1_color": "27.98/0.82 - - 32.53/0.92"}),
    ("SwinIR colour", "SwinIR", {
        "LIVE1_color": "28.06/0.8089 30.45/0.8741 31.82/0.9018 32.75/0.9174"}),
]  # fmt: skip

SR_LEVELS = (4,)
SR = [
    ("IRN", INPUT, {"Set5": "28.42/0.8104", "Set14": "26.00/0.7027"}),
    ("SwinIR light", "IMDN", {"Set5": "32.21/0.8948", "Set14": "28.58/0.7811"}),
    ("SwinIR light", "SwinIR-light", {"Set5": "32.44/0.8976", "Set14": "28.77/0.7858"}),
    ("SwinIR sr", "SwinIR", {"Set5": "32.92/0.9044", "Set14": "29.09/0.7950"}),
]

TABLES = {"noise": (NOISE_LEVELS, NOISE), "jpeg": (JPEG_LEVELS, JPEG), "sr": (SR_LEVELS, SR)}


def published(name: str, task: Task) -> list[Published]:
    """The published rows for a set and a degradation, in the order of the tables."""
    levels, table = TABLES[task.kind]
    if task.strength not in levels:
        return []
    found = []
    for source, row, sets in table:
        cells = dict(zip(levels, sets.get(name, "").split(), strict=False))
        psnr, _, ssim = cells.get(task.strength, "-").partition("/")
        if psnr != "-":
            found.append(
                Published(row, float(psnr), float(ssim) if ssim else None, SOURCES[source])
            )
    return found

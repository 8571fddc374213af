"""How a comparison is shown: the table, the CSV file and the contact sheet."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands import console
from avatarkit.files.streams import atomic, temporary_beside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

COLUMNS = {
    "psnr": ("PSNR", 2), "ssim": ("SSIM", 4), "ms_ssim": ("MS-SSIM", 4), "l1": ("L1", 4), "mse": ("MSE", 5),
    "lpips": ("LPIPS", 4), "csim": ("CSIM", 3), "cpbd": ("CPBD", 3), "jitter": ("jitter", 5),
}  # fmt: skip
REGIONS = ("head", "above jaw", "face", "frame", "mouth", "eyes", "outside")
ERROR_FULL_SCALE = 0.25
"""Mean absolute error over the channels that the error map shows in its brightest color."""


def check_writable(path: Path) -> None:
    """Raise AvatarkitError before the work when the result could not be written after it."""
    temporary_beside(path)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows under their JSON keys; absent metrics are empty."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["name"])
        writer.writeheader()
        writer.writerows(rows)


def print_table(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """A table on standard output, region by region, best values in bold; metrics nobody has are left out."""
    from rich.table import Table

    used = [key for key in COLUMNS if any(row[key] is not None for row in rows)]
    table = Table(title=f"{summary['frames']} {summary['split']} frames", title_justify="left")
    table.add_column("region")
    table.add_column("name")
    for key in used:
        title = COLUMNS[key][0]
        if key == "lpips" and summary.get("lpips_network"):
            title += f"-{summary['lpips_network']}"
        table.add_column(title, justify="right")
    for region in REGIONS:
        members = [row for row in rows if row["region"] == region]
        best = {key: _best(key, members) for key in used}
        for i, row in enumerate(members):
            cells = [_cell(key, row[key], row[key] is not None and row[key] == best[key]) for key in used]
            table.add_row(region if i == 0 else "", row["name"], *cells, end_section=i == len(members) - 1)
    console.show(table)


def _best(key: str, rows: list[dict[str, Any]]) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    if len(values) < 2:
        return None
    return min(values) if key in ("l1", "mse", "lpips", "jitter") else max(values)


def _cell(key: str, value: float | None, best: bool) -> str:
    if value is None:
        return "-"
    text = f"{value:.{COLUMNS[key][1]}f}"
    return f"[bold]{text}[/bold]" if best else text


class Gallery:
    """Some frames of a comparison as one picture: a row each; truth, then every competitor and its error."""

    def __init__(self, rows: int, side: int = 256) -> None:
        self.wanted, self.side = rows, side
        self._rows: list[Image] = []
        self._titles: list[str] = []

    def offer(self, index: int, count: int, truth: Image, pictures: dict[str, Image]) -> None:
        """Keep frame ``index`` of ``count`` when it is one of the evenly spread ones."""
        import numpy as np

        spread = np.linspace(0, count - 1, min(self.wanted, count)).round().astype(int)
        if index not in spread:
            return
        self._titles = ["truth"]
        tiles = [self._fitted(truth)]
        for name, picture in pictures.items():
            tiles += [self._fitted(picture), self._fitted(error_map(picture, truth))]
            self._titles += [name, "error"]
        self._rows.append(np.concatenate(tiles, 1))

    def write(self, path: Path) -> None:
        """The sheet as a picture file, titles on top."""
        import cv2
        import numpy as np

        from avatarkit.files.images import write_image

        width = self._rows[0].shape[1]
        head = np.full((28, width, 3), 255, np.uint8)
        tile = width // len(self._titles)
        for i, title in enumerate(self._titles):
            # OpenCV's fonts know ASCII alone
            plain = title.encode("ascii", "replace").decode()
            cv2.putText(
                head,
                plain[: tile // 9],
                (i * tile + 6, 19),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5,
                (20, 20, 20),
                1,
                16,
            )
        write_image(path, np.concatenate([head, *self._rows]))

    def _fitted(self, image: Image) -> Image:
        import cv2
        import numpy as np

        height, width = image.shape[:2]
        scale = self.side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, size, interpolation=kernel), np.uint8)


def error_map(picture: Image, truth: Image) -> Image:
    """[H, W, 3] the mean absolute error over the channels in colors, black for none."""
    import cv2
    import numpy as np

    error = np.abs(picture.astype(np.float32) - truth.astype(np.float32)).mean(-1) / (255 * ERROR_FULL_SCALE)
    colored = cv2.applyColorMap((np.clip(error, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(colored[..., ::-1])

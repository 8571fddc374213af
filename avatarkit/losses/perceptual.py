"""Which perceptual loss a fit uses on patches."""

from __future__ import annotations

from avatarkit.files.errors import AvatarkitError
from avatarkit.losses.patch import PatchLoss, structure


def patch_loss(choice: str) -> tuple[PatchLoss, str]:
    """The loss of ``auto``, ``lpips`` or ``structure``, and its name for summaries and headers.

    LPIPS with the VGG backbone (Zhang et al. 2018), as Gao et al. 2022 use it, needs weights that do not come
    with the package. ``auto`` takes it where they are at hand, else the multi-scale gradient and SSIM loss;
    ``lpips`` raises AvatarkitError where they are not.
    """
    if choice == "structure":
        return structure, "structure"
    from avatarkit.metrics import lpips

    network = lpips.load(("vgg",))
    if network is None and choice == "lpips":
        raise AvatarkitError(
            "--perceptual lpips: the VGG weights are not at hand; put torchvision's vgg16-397923af.pth into "
            "AVATARKIT_HOME, or use --perceptual structure"
        )
    if network is None:
        return structure, "structure"
    return lambda predicted, target: network(predicted, target).mean(), "lpips-vgg"

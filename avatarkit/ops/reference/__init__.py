"""Plain-torch twins of the native operations.

They state what the kernels compute, in any floating-point type and on any device, differentiable by autograd;
they serve as fallback where the kernels were not built, and as the truth of the tests. Arguments are taken to be
valid: the wrappers in ``avatarkit.ops`` check them.
"""

from avatarkit.ops.reference import occupancy
from avatarkit.ops.reference.field import density_mlp, field_mlp, hash_encode, spherical_harmonics
from avatarkit.ops.reference.normals import vertex_normals
from avatarkit.ops.reference.rays import composite, march, render_rays
from avatarkit.ops.reference.sines import sine_mlp
from avatarkit.ops.reference.sparse import sparse_conv, sparse_reverse, sparse_rules
from avatarkit.ops.reference.tables import adam_blend, blend
from avatarkit.ops.reference.visible import visible_samples
from avatarkit.ops.reference.warp import warp_points, warp_volume

__all__ = [
    "adam_blend",
    "blend",
    "composite",
    "density_mlp",
    "field_mlp",
    "hash_encode",
    "march",
    "occupancy",
    "render_rays",
    "sine_mlp",
    "sparse_conv",
    "sparse_reverse",
    "sparse_rules",
    "spherical_harmonics",
    "vertex_normals",
    "visible_samples",
    "warp_points",
    "warp_volume",
]

"""The method ``photo``: one photo as a layered 2.5-D warp, without network weights."""

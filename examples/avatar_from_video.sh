#!/usr/bin/env bash
# From a clip of a talking person to a drivable avatar, and the clip again, rendered by it.
# usage: avatar_from_video.sh clip.mp4 [minutes]
set -euo pipefail
clip=$1
minutes=${2:-10}
name=$(basename "${clip%.*}")

avatarkit track "$clip" | avatarkit segment -o "$name.track.npz"
avatarkit fit "$name.track.npz" --method nerfblendshape --minutes "$minutes" -o "$name.safetensors"
avatarkit eval "$name.safetensors" --track "$name.track.npz" --sheet "$name.sheet.png"
avatarkit render "$name.safetensors" --driver "$name.track.npz" --side-by-side -o "$name.render.mp4"

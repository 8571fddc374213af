#!/usr/bin/env bash
# Every method on one clip for the same minutes, and one table of them beside two baselines.
# usage: compare.sh clip.mp4 [minutes] [method ...]
set -euo pipefail
clip=$1
minutes=${2:-10}
methods=("${@:3}")
[ ${#methods[@]} -gt 0 ] || methods=(nerfblendshape concat nerface neuralbody manerf gaussians)
name=$(basename "${clip%.*}")

[ -e "$name.track.npz" ] || avatarkit track "$clip" | avatarkit segment -o "$name.track.npz"
avatars=()
for method in "${methods[@]}"; do
    avatar="$name.$method.safetensors"
    [ -e "$avatar" ] || avatarkit fit "$name.track.npz" --video "$clip" --method "$method" --minutes "$minutes" -o "$avatar"
    avatars+=("$avatar")
done
# the radiance fields need ten seconds to three minutes a frame
avatarkit eval --compare --at-most 16 "${avatars[@]}" --track "$name.track.npz" --video "$clip" \
    --sheet "$name.compare.png" --csv "$name.compare.csv" --markdown "$name.compare.md"

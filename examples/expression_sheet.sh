#!/usr/bin/env bash
# Stills of single expressions, one PNG each.
# usage: expression_sheet.sh me.safetensors [folder]
set -euo pipefail
folder=${2:-expressions}
mkdir -p "$folder"
for name in jawOpen mouthSmileLeft mouthPucker browInnerUp eyeBlinkLeft; do
    avatarkit render "$1" --set "$name=0.8" -o "$folder/$name.png"
done
for yaw in -20 -10 0 10 20; do
    avatarkit render "$1" --yaw="$yaw" -o "$folder/yaw$yaw.png"
done

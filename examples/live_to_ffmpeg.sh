#!/usr/bin/env bash
# Raw frames through a pipe: any encoder ffmpeg knows, nothing on disk in between.
# usage: live_to_ffmpeg.sh me.safetensors driver.track.npz out.webm
set -euo pipefail
size=$(avatarkit info "$1" --json | python3 -c 'import json,sys; c=json.load(sys.stdin)["camera"]; print("%dx%d" % (c["width"], c["height"]))')
avatarkit render "$1" --driver "$2" -o - | ffmpeg -f rawvideo -pix_fmt rgb24 -s "$size" -r 25 -i - "$3"

#!/usr/bin/env bash
# A photo moves like the person in a video, and then on its own.
# usage: reenact.sh photo.jpg driver.mp4 [out folder]
set -euo pipefail
photo=$1
driver=$2
out=${3:-reenacted}
mkdir -p "$out"

# like the driver, with its sound; the driver beside it
avatarkit reenact "$photo" "$driver" --side-by-side -o "$out/driven.mp4"
# frames leave two after the driver's: what a camera would need
avatarkit reenact "$photo" "$driver" --live-smoothing --max-frames 100 -o "$out/live.mp4"
# head and shoulders before a plain background, only lips and eyes of the driver, marked as what it is
avatarkit reenact "$photo" "$driver" --parts lips,eyes --crop head --background white --mark -o "$out/lips.mp4"
# without any driver: a built-in performance that loops seamlessly, and a still
avatarkit reenact "$photo" idle -o "$out/idle.mp4"
avatarkit reenact "$photo" --set mouthSmileLeft=.6 --set mouthSmileRight=.6 -o "$out/smile.png"

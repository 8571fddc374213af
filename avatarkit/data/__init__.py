"""From track and video to training samples."""

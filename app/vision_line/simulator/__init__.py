# SPDX-License-Identifier: AGPL-3.0-or-later
"""A virtual PCB line: drawn boards with known defects, served as RTSP cameras.

`clips.ensure_clips` renders what the cameras see, `live.Simulator` serves it from a process of its own,
`truth.write_truth` writes down what can be seen, and `labelled_images.write_dataset` makes a training set.
"""

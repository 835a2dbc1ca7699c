"""Pose in, picture out: train a ControlNet on triplets, paint with it, measure what it painted."""

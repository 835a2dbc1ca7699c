"""Identities over time, and what time tells of points: smoothing, outliers, frames to label."""

"""The lab: servers, images and a demonstration on one machine.

The load test itself imports nothing from here.
"""

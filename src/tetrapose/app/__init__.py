"""The studio: a page on this machine where animals are found, posed, corrected and looked at.

``serving.build`` puts it together; ``tetrapose app`` serves it. The page's own files lie in page/.
"""

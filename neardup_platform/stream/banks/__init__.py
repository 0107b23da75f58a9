"""Banks: labels of images, which apply to the clusters that the images are in."""

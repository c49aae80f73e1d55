"""Models trained on tiles of large images: pathology slides, satellite scenes, maps.

Tiles with a slide, a place and a label are given to the callback as probes. At each evaluation it
draws, slide by slide, the labels, the predicted probabilities and their difference at the places of
the tiles, and the tiles' attribution maps as a mosaic:

    tiles = ks.tiles.Tiles.from_csv("tiles.csv", class_names=["normal", "tumour"])
    model.fit(train, epochs=20, callbacks=[ks.SaliencyCallback(tiles)])

Without a callback, `tile_map`, `tile_sheet` and `tile_mosaic` draw arrays in the same way.
"""

from keras_saliency.tiles.dataset import Tiles
from keras_saliency.tiles.drawing import Thumbnail, tile_map, tile_mosaic, tile_sheet

__all__ = ["Thumbnail", "Tiles", "tile_map", "tile_mosaic", "tile_sheet"]

"""What the papers and courses of the field claim, each as a test that can be read beside the page.

The claim stands in the docstring in our own words, with paper and section.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from denselab.convolutional.fully_convolutional import convolutionalize
from denselab.layers.aspp import ASPP, ImagePooling
from denselab.layers.conv import separable_conv
from denselab.layers.convolution_matrix import convolution_matrix
from denselab.layers.unpool import bed_of_nails, max_pool_with_indices, max_unpool, nearest_unpool
from denselab.layers.upsample import bilinear_transposed_conv
from denselab.layers.windows import run_dense, run_windows, shift_and_stitch


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def operations(network: nn.Module, *shape: int) -> int:
    """Multiplications of a network on pictures of a shape, counted on the meta device (a multiply-add is one)."""
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.empty(*shape, device="meta"))
    return counter.get_total_flops() // 2


def small_classifier() -> nn.Sequential:
    """Windows of 14x14 at stride 4 to three scores: two convolutions with pools, two fully connected layers."""
    torch.manual_seed(0)
    features = (nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(8 * 2 * 2, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


# Convolutions


def test_a_fully_connected_layer_is_a_convolution() -> None:
    """ "Fully connected layers can be seen as convolutions with kernels that cover their whole input": FCN
    (arXiv 1411.4038), section 3.1. The same 4096 x 25088 numbers are 4096 kernels of 512 x 7 x 7 in the same order."""
    torch.manual_seed(0)
    maps, layer = torch.randn(2, 8, 7, 7), nn.Linear(8 * 7 * 7, 12)
    convolved = F.conv2d(maps, layer.weight.reshape(12, 8, 7, 7), layer.bias)
    assert convolved.shape == (2, 12, 1, 1)
    close(convolved.flatten(1), layer(maps.flatten(1)))


def test_a_convolutional_classifier_is_every_window_at_once() -> None:
    """The map of a convolutionalised net equals the net run on each window: FCN, section 3.1, figure 2."""
    classifier, pictures = small_classifier(), torch.randn(2, 2, 30, 45)
    model = convolutionalize(classifier, 14)
    with torch.no_grad():
        close(model(pictures), run_windows(classifier, pictures, (14, 14), (4, 4)))


def test_and_shares_the_work_of_their_overlaps() -> None:
    """ "The evaluation is equivalent to that of the original net on patches, but the computation is highly amortised over
    their overlaps": FCN, section 3.1 (there: a 10x10 map of AlexNet more than five times faster than patch by patch)."""
    model = convolutionalize(small_classifier(), 14)
    one, whole = operations(model, 1, 2, 14, 14), operations(model, 1, 2, 50, 50)
    assert model(torch.empty(1, 2, 50, 50, device="meta")).shape[-2:] == (10, 10)
    assert 100 * one > 3 * whole  # in this small net; the linear layers share nothing


def test_training_on_all_patches_is_training_on_the_picture() -> None:
    """The loss summed over the cells of the map has the gradient of the loss summed over all patches, each run by itself,
    though the patches overlap: FCN, sections 3.1 and 3.4."""
    classifier, pictures = small_classifier(), torch.randn(1, 2, 26, 22)
    network = convolutionalize(classifier, 14).network
    labels = torch.randint(0, 3, (1, 4, 3))
    for model, scores in (
        (classifier, run_windows(classifier, pictures, (14, 14), (4, 4))),
        (network, network(pictures)),
    ):
        F.cross_entropy(scores, labels, reduction="sum").backward()
        assert all(p.grad is not None for p in model.parameters())
    for patches, picture in zip(classifier.parameters(), network.parameters(), strict=True):
        close(picture.grad.flatten(), patches.grad.flatten())


def test_three_small_kernels_see_as_much_as_one_large_one() -> None:
    """Three 3x3 convolutions see 7x7 pixels with 27 C^2 weights in place of 49 C^2: VGG (arXiv 1409.1556), section 2.3."""
    channels = 4
    small = nn.Sequential(*(nn.Conv2d(channels, channels, 3, bias=False) for _ in range(3)))
    large = nn.Conv2d(channels, channels, 7, bias=False)
    x = torch.randn(1, channels, 15, 15, requires_grad=True)
    small(x)[0, :, 4, 4].sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().sum((0, 1)).nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [7, 7]
    assert small(x).shape == large(x).shape
    assert sum(p.numel() for p in small.parameters()) == 27 * channels**2
    assert sum(p.numel() for p in large.parameters()) == 49 * channels**2


# Atrous convolution


@pytest.mark.parametrize(("kernel", "rate"), [(3, 2), (3, 12), (5, 3), (1, 7)])
def test_an_atrous_kernel_covers_more_pixels_with_the_same_weights(kernel: int, rate: int) -> None:
    """A kernel of k at rate r covers k + (k - 1)(r - 1) pixels, with no parameter and no multiplication more:
    DeepLab v2 (arXiv 1606.00915), section 3.1. Rate 12 of the LargeFOV net's 3x3: 25 pixels."""
    covered = kernel + (kernel - 1) * (rate - 1)
    plain, atrous = nn.Conv2d(1, 1, kernel), nn.Conv2d(1, 1, kernel, dilation=rate)
    x = torch.randn(1, 1, 2 * covered + 1, 2 * covered + 1, requires_grad=True)
    atrous(x)[0, 0, 1, 1].backward()
    assert x.grad is not None
    reached = x.grad[0, 0].nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [covered, covered]
    assert len(reached) == kernel**2  # the holes are not looked at
    assert sum(p.numel() for p in atrous.parameters()) == sum(p.numel() for p in plain.parameters())


def test_an_atrous_convolution_has_zeros_between_its_taps() -> None:
    """It is the convolution whose kernel has r - 1 zeros between neighbouring taps: DeepLab v2, section 3.1, figure 2."""
    torch.manual_seed(0)
    x, kernel = torch.randn(1, 2, 12, 12), torch.randn(3, 2, 3, 3)
    with_holes = torch.zeros(3, 2, 7, 7)
    with_holes[..., ::3, ::3] = kernel
    close(F.conv2d(x, kernel, dilation=3), F.conv2d(x, with_holes))


def test_an_atrous_convolution_is_a_convolution_of_each_subsampled_map() -> None:
    """Take every r-th pixel (r^2 maps), convolve each as usual, interlace: DeepLab v2, section 3.1, second way."""
    torch.manual_seed(0)
    x, kernel, rate = torch.randn(1, 2, 12, 12), torch.randn(3, 2, 3, 3), 2
    expected = F.conv2d(x, kernel, padding=rate, dilation=rate)
    result = torch.empty_like(expected)
    for row in range(rate):
        for column in range(rate):
            result[..., row::rate, column::rate] = F.conv2d(x[..., row::rate, column::rate], kernel, padding=1)
    close(result, expected)


def test_holes_in_place_of_strides_give_what_shift_and_stitch_gives() -> None:
    """Shifting the picture by every offset below the stride and interlacing the answers gives the same dense map as
    setting the strides to 1 and dilating what follows, and both are the net on the window of every pixel: FCN, section
    3.2; DeepLab v1 (arXiv 1412.7062), section 3.1."""
    classifier, picture = small_classifier(), torch.randn(1, 2, 21, 19)
    head = (nn.Conv2d(8, 16, 2), nn.ReLU(), nn.Conv2d(16, 3, 1))
    network = nn.Sequential(*classifier[:6], *head)
    with torch.no_grad():
        literal = run_windows(network, picture, (14, 14))
        close(shift_and_stitch(network, picture, (14, 14), 4), literal)
        close(run_dense(network, picture), literal)


def test_at_a_large_rate_only_the_centre_of_the_kernel_is_left() -> None:
    """As the rate nears the size of the map a 3x3 atrous convolution becomes 1x1, its other taps falling into the padding;
    hence the image-level branch: DeepLab v3 (arXiv 1706.05587), section 3.3, figure 4."""
    torch.manual_seed(0)
    x, layer = torch.randn(1, 4, 9, 9), nn.Conv2d(4, 5, 3, padding=9, dilation=9)
    close(layer(x), F.conv2d(x, layer.weight[..., 1:2, 1:2], layer.bias))
    valid = torch.ones(1, 1, 65, 65)  # figure 4's map: how many taps fall inside
    counts = F.conv2d(valid, torch.ones(1, 1, 3, 3), padding=60, dilation=60)
    assert (counts[0, 0, 5:60, 5:60] == 1).all()


def test_image_pooling_says_the_same_everywhere() -> None:
    """The image-level branch is the mean of the whole map, through a 1x1 convolution, spread over the map again:
    DeepLab v3, section 3.3 (after ParseNet). A change anywhere changes it everywhere, and alike."""
    pooling = ImagePooling(4, 6).eval()
    x = torch.rand(1, 4, 5, 7)
    out = pooling(x)
    assert out.shape == (1, 6, 5, 7)
    close(out, out.mean((2, 3), keepdim=True).expand_as(out))
    close(pooling(x.flip(-1, -2)), out)
    by_hand = F.relu(pooling.norm(F.conv2d(x.mean((2, 3), keepdim=True), pooling.conv.weight)))
    close(out[..., :1, :1], by_hand)
    assert isinstance(ASPP(4, (6, 12, 18)).image_pooling, ImagePooling)


# Depthwise separable convolution


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 32), (256, 256), (3, 48)])
def test_a_separable_convolution_costs_a_ninth_and_a_little(inputs: int, outputs: int) -> None:
    """A depthwise 3x3 and a pointwise 1x1 cost 1/C_out + 1/9 of the full 3x3, in weights and in multiplications:
    MobileNets (arXiv 1704.04861), section 3.1; the ASPP and decoder of DeepLab v3+ (arXiv 1802.02611), section 3.1."""
    full, separable = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), separable_conv(inputs, outputs)
    share = 1 / outputs + 1 / 9
    weights = sum(m.weight.numel() for m in separable.modules() if isinstance(m, nn.Conv2d))
    assert weights == pytest.approx(share * full.weight.numel())
    shape = (1, inputs, 17, 23)
    assert operations(separable, *shape) == pytest.approx(share * operations(full, *shape))


# Transposed convolution and upsampling


def test_a_transposed_convolution_multiplies_with_the_transposed_matrix() -> None:
    """A convolution is a matrix M on the flattened picture, its transposed convolution is M^T, and the gradient of the
    convolution as well: FCN, section 3.3 ("simply reverses the forward and backward passes"); arXiv 1603.07285, section 4."""
    torch.manual_seed(0)
    kernel, x = torch.randn(3, 2, 4, 4), torch.randn(1, 2, 10, 12, requires_grad=True)
    matrix = convolution_matrix(kernel, (10, 12), stride=2, padding=1).to_dense()
    y = F.conv2d(x, kernel, stride=2, padding=1)
    close(matrix @ x.flatten(), y.flatten())
    back = torch.randn_like(y)
    transposed = F.conv_transpose2d(back, kernel, stride=2, padding=1)
    close(matrix.T @ back.flatten(), transposed.flatten())
    (gradient,) = torch.autograd.grad(y, x, back)
    close(gradient, transposed)


def test_a_transposed_convolution_is_no_inverse() -> None:
    """ "Deconvolution" is a misnomer: M^T M is not the identity; it brings back the size and not the picture (arXiv
    1603.07285, section 4)."""
    torch.manual_seed(0)
    matrix = convolution_matrix(torch.randn(1, 1, 2, 2), (4, 4), stride=2).to_dense()
    product = matrix.T @ matrix
    assert product.shape == (16, 16)
    assert torch.linalg.matrix_rank(product) == 4  # four outputs cannot tell sixteen pixels apart


@pytest.mark.parametrize("factor", [2, 4, 8, 32])
def test_a_transposed_convolution_can_interpolate(factor: int) -> None:
    """With kernel 2f and stride f and the bilinear filter a transposed convolution is bilinear interpolation by f: FCN,
    sections 3.3 and 4.2. (Half a cell from the border the filter meets the padding.)"""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 5, 6)
    upsample = bilinear_transposed_conv(3, 2 * factor, factor, padding=factor // 2)
    reference = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor // 2, -(factor // 2)), slice(factor // 2, -(factor // 2)))
    assert upsample(x).shape == reference.shape
    close(upsample(x)[inner], reference[inner])


# Unpooling


def test_unpooling_puts_each_maximum_back() -> None:
    """The pool remembers where each maximum was, and unpooling puts it there, zeros elsewhere: DeconvNet (arXiv
    1505.04366), section 3.2.1, figure 3; SegNet (arXiv 1511.00561), section 3, figure 3."""
    x = torch.tensor(
        [
            [1.0, 2.0, 6.0, 3.0],
            [3.0, 5.0, 2.0, 1.0],
            [1.0, 2.0, 2.0, 1.0],
            [7.0, 3.0, 4.0, 8.0],
        ]
    )[None, None]
    pooled, indices = max_pool_with_indices()(x)
    assert pooled[0, 0].tolist() == [[5, 6], [7, 8]]
    expected = [[0, 0, 6, 0], [0, 5, 0, 0], [0, 0, 0, 0], [7, 0, 0, 8]]
    assert max_unpool(pooled, indices, (4, 4))[0, 0].tolist() == expected
    again, where = max_pool_with_indices()(max_unpool(pooled, indices, (4, 4)))
    assert torch.equal(again, pooled)
    assert torch.equal(where, indices)


def test_unpooling_without_switches_forgets_the_place() -> None:
    """Nearest neighbour repeats each value over its cell, "bed of nails" puts it into the upper left corner: the two
    ways of the courses that need nothing remembered."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    assert nearest_unpool(x, 2)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert bed_of_nails(x, 2)[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


def test_a_switch_is_one_of_four_places() -> None:
    """Two bits per 2x2 window hold all that unpooling needs, where a whole map of features would be kept in float
    otherwise: SegNet, section 3 ("2 bits for each 2x2 pooling window")."""
    torch.manual_seed(0)
    height, width = 10, 14
    _, indices = max_pool_with_indices()(torch.randn(2, 3, height, width))
    rows, columns = indices // width, indices % width
    top = 2 * torch.arange(height // 2)[:, None]
    left = 2 * torch.arange(width // 2)
    place = 2 * (rows - top) + (columns - left)
    assert place.unique().tolist() == [0, 1, 2, 3]

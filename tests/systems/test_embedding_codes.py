"""Embeddings as codes: components by eigenvalue, and buckets that lose no more than half of one."""

import pytest
import torch

from labkit.systems.embedding_codes import PCA, Buckets, components_for, pca_error


def vectors(N=500, D=8):
    torch.manual_seed(0)
    turned, _ = torch.linalg.qr(torch.randn(D, D))
    return torch.randn(N, D) * 2.0 ** -torch.arange(D) @ turned + 3


def test_the_components_are_those_of_scikit_learn():
    from sklearn.decomposition import PCA as Theirs

    x = vectors()
    pca, theirs = PCA(8, 3), Theirs(3).fit(x.double().numpy())
    pca.fit(x)
    same = (pca.axes.double() @ torch.tensor(theirs.components_).T).abs()
    assert torch.allclose(same, torch.eye(3, dtype=torch.float64), atol=1e-4)
    expected = torch.tensor(theirs.inverse_transform(theirs.transform(x.double().numpy())))
    assert torch.allclose(pca.back(pca(x)).double(), expected, atol=1e-4)


def test_the_error_of_a_reconstruction_is_the_share_of_the_eigenvalues_left_out():
    x = vectors()
    expected = pca_error(x)
    assert expected[0] == 1 and expected[-1] == 0 and (expected.diff() < 0).all()
    pca = PCA(8, 8)
    pca.fit(x)
    total = (x - x.mean(0)).square().sum()
    for k in (1, 3, 8):
        lost = (x - pca.back(pca(x)[:, :k])).square().sum() / total
        assert lost.item() == pytest.approx(expected[k].item(), abs=1e-5)


def test_the_fewest_components_that_keep_enough_are_found():
    x = vectors()
    for error in (0.5, 0.1, 0.01, 0.0):
        k = components_for(x, error)
        assert pca_error(x)[k] <= error and (k == 0 or pca_error(x)[k - 1] > error)
    with pytest.raises(ValueError, match="the error is 2"):
        components_for(x, 2)


def test_a_bucket_stands_for_all_values_within_half_of_its_width():
    x, buckets = vectors(), Buckets(8, 32)
    buckets.fit(x)
    codes = buckets(x)
    assert codes.min() == 0 and codes.max() == 31 and codes.dtype == torch.long
    half = (buckets.high - buckets.low) / 32 / 2
    assert ((buckets.back(codes) - x).abs() <= half + 1e-5).all()
    assert torch.equal(buckets(buckets.back(codes)), codes)


def test_what_lies_outside_goes_to_the_first_or_the_last_bucket():
    buckets = Buckets(2, 4)
    assert torch.equal(
        buckets(torch.tensor([[-5.0, 0.3], [1.0, 7.0]])), torch.tensor([[0, 1], [3, 3]])
    )


def test_autocast_changes_no_code_and_half_precision_little():
    x, pca, buckets = vectors(), PCA(8, 8), Buckets(8, 1024)
    pca.fit(x)
    buckets.fit(pca(x))
    codes = buckets(pca(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(buckets(pca(x)), codes)
        assert torch.allclose(pca.back(buckets.back(codes)), x, atol=0.05)
    back = pca.half().back(buckets.half().back(codes))
    assert back.dtype == torch.half and torch.allclose(back.float(), x, atol=0.05)


def test_too_few_or_equal_vectors_have_no_components():
    with pytest.raises(ValueError, match="3 vectors to find 3 components in"):
        PCA(8, 3).fit(vectors(3))
    PCA(8, 3).fit(vectors(4))
    with pytest.raises(ValueError, match="all vectors are equal"):
        pca_error(torch.ones(5, 3))


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="components is 9"):
        PCA(8, 9)
    with pytest.raises(ValueError, match="buckets is 1"):
        Buckets(8, 1)
    with pytest.raises(ValueError, match="a table of numbers"):
        PCA(8, 2).fit(torch.zeros(3))

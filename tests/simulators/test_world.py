"""The physical world: the same for everybody who asks about the same instant."""

import pytest

from simulators.world import NOMINAL, SECOND_NS, Drift, Eye, Pan, Step, World


@pytest.mark.parametrize("quantity", [*NOMINAL, "mains_energy"])
def test_the_same_seed_and_instant_give_the_same_value(quantity):
    assert World(7).value(quantity, 123_456_789_012) == World(7).value(quantity, 123_456_789_012)


def test_another_seed_is_another_world():
    assert World(7).value("resistance", SECOND_NS) != World(8).value("resistance", SECOND_NS)


def test_a_drift_moves_and_stays_within_its_amplitude():
    drift = Drift(1, "x", 100.0, 0.5)
    values = [drift.value(k * SECOND_NS) for k in range(0, 4000, 7)]
    assert max(values) - min(values) > 0.3
    assert all(99.5 <= value <= 100.5 for value in values)


def test_a_step_goes_two_thirds_of_the_way_in_its_time_constant():
    step = Step(target=0.0, tau_s=2.0)
    step.change(10.0, 5 * SECOND_NS)
    assert step.value(5 * SECOND_NS) == 0.0
    assert step.value(7 * SECOND_NS) == pytest.approx(6.32120559)  # 10 (1 - 1/e)
    assert not step.settled(7 * SECOND_NS, 0.01)
    assert step.settled(40 * SECOND_NS, 0.01)


def test_a_step_changed_again_starts_from_where_it_was():
    step = Step(target=0.0, tau_s=2.0)
    step.change(10.0, 0)
    step.change(0.0, 2 * SECOND_NS)
    assert step.value(2 * SECOND_NS) == pytest.approx(6.32120559)


def test_a_load_rings_and_then_rests():
    pan = Pan(loads_g=(100.0, 200.0), every_s=20.0, rings_s=2.0)
    assert not pan.stable(20 * SECOND_NS)
    assert pan.value(20 * SECOND_NS) == pytest.approx(100.0)  # the moment it is put on, it still shows what was there
    assert pan.stable(23 * SECOND_NS)
    assert pan.value(23 * SECOND_NS) == 200.0


def test_reference_and_unit_under_test_see_the_same_quantity_differently():
    world = World(3)
    reference = Eye(world, "reference", error_ppm=0.0, noise_ppm=0.0)
    unit = Eye(world, "uut", error_ppm=5.0, noise_ppm=0.0)
    assert unit.see("resistance", SECOND_NS) - reference.see("resistance", SECOND_NS) == pytest.approx(
        0.05
    )  # of 10 kohm


def test_a_lagging_instrument_sees_the_past():
    world = World(3)
    late = Eye(world, "late", 0.0, 0.0, lag_s=30.0)
    assert late.see("bath_temperature", 100 * SECOND_NS) == world.value("bath_temperature", 70 * SECOND_NS)


def test_noise_is_different_at_every_instant_and_the_same_at_the_same():
    eye = Eye(World(3), "dmm", 0.0, noise_ppm=1.0)
    values = [eye.see("dc_voltage", k * SECOND_NS) for k in range(20)]
    assert len(set(values)) == 20
    assert values == [eye.see("dc_voltage", k * SECOND_NS) for k in range(20)]


def test_energy_only_grows():
    world = World(3)
    values = [world.value("mains_energy", k * SECOND_NS) for k in range(0, 3600, 60)]
    assert values == sorted(values)
    # one hour at 230 V, 5 A, power factor 0.95 is 1.0925 kWh
    assert world.value("mains_energy", 3600 * SECOND_NS) == pytest.approx(1.0925)

//! `geoDistance`: kilometres between two points on a sphere.

/// The radius of the Earth.
const RADIUS_KM: f64 = 6371.0;

/// The spherical law of cosines, with its rounding: two equal points may have no distance, as in
/// PocketBase, which is NaN here.
pub(in crate::rules) fn distance_km([lon_a, lat_a, lon_b, lat_b]: [f64; 4]) -> f64 {
    let (lat_a, lat_b) = (lat_a.to_radians(), lat_b.to_radians());
    let between = lon_b.to_radians() - lon_a.to_radians();
    let cosine = lat_a.cos() * lat_b.cos() * between.cos() + lat_a.sin() * lat_b.sin();
    RADIUS_KM * cosine.acos()
}

//! Kubernetes quantities as bytes.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// How many bytes a quantity is, rounded up; `None` if it is not a quantity or beyond all disks.
pub fn bytes(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.trim();
    let end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits: u128 = format!("0{whole}{fraction}").parse().ok()?;
    let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (factor, part) = scale(suffix)?;
    let scaled = digits.checked_mul(factor)?;
    Some(scaled.div_ceil(divisor.checked_mul(part)?))
}

/// What a suffix multiplies by and what it divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let thousand = |power: u32| Some((1_000_u128.pow(power), 1));
    let kibi = |power: u32| Some((1_024_u128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => thousand(1),
        "M" => thousand(2),
        "G" => thousand(3),
        "T" => thousand(4),
        "P" => thousand(5),
        "E" => thousand(6),
        "Ki" => kibi(1),
        "Mi" => kibi(2),
        "Gi" => kibi(3),
        "Ti" => kibi(4),
        "Pi" => kibi(5),
        "Ei" => kibi(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let value = 10_u128.checked_pow(power.unsigned_abs())?;
            Some(if power < 0 { (1, value) } else { (value, 1) })
        }
    }
}

//! Task-level CPU and memory are texts on the wire: a number, or a number with `vCPU` or `GB` behind it.

/// The text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size")]
pub struct SizeError;

/// `"512"`, `"1 vCPU"`, `".25 vcpu"` → CPU units (1024 = one vCPU).
///
/// # Errors
/// [`SizeError`] for anything else, a fraction of a unit and what does not fit 31 bits.
pub fn cpu_units(text: &str) -> Result<u32, SizeError> {
    parse(text, "vcpu")
}

/// `"512"`, `"1GB"`, `"0.5 GB"` → MiB.
///
/// # Errors
/// As for [`cpu_units`].
pub fn memory_mib(text: &str) -> Result<u32, SizeError> {
    parse(text, "gb")
}

fn parse(text: &str, unit: &str) -> Result<u32, SizeError> {
    let text = text.trim().to_ascii_lowercase();
    let value = match text.strip_suffix(unit) {
        Some(number) => thousandfold(number.trim_end())?,
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| SizeError)?,
        None => return Err(SizeError),
    };
    // The wire's integers have 31 bits; a larger size could not be echoed in them.
    u32::try_from(value).ok().filter(|&value| i32::try_from(value).is_ok()).ok_or(SizeError)
}

/// A decimal number times 1024, exactly: floating point would round `0.3 vCPU` one way here and another elsewhere.
fn thousandfold(number: &str) -> Result<u64, SizeError> {
    const FRACTION_DIGITS_MAX: usize = 9;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) || fraction.len() > FRACTION_DIGITS_MAX
    {
        return Err(SizeError);
    }
    let number = |part: &str| if part.is_empty() { Ok(0) } else { part.parse::<u64>().map_err(|_| SizeError) };
    let scale = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| SizeError)?);
    let whole = number(whole)?.checked_mul(1024).ok_or(SizeError)?;
    whole.checked_add(number(fraction)? * 1024 / scale).ok_or(SizeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_a_number_of_units_or_of_vcpus() {
        for (text, expected) in [
            ("256", Ok(256)),
            (" 256 ", Ok(256)),
            ("0", Ok(0)),
            ("1 vCPU", Ok(1024)),
            ("1vcpu", Ok(1024)),
            (".25 vcpu", Ok(256)),
            ("0.5 vCPU", Ok(512)),
            ("192 vCPU", Ok(196_608)),
            ("2. vCPU", Ok(2048)),
            ("", Err(SizeError)),
            ("vCPU", Err(SizeError)),
            (". vCPU", Err(SizeError)),
            ("-1", Err(SizeError)),
            ("+1", Err(SizeError)),
            ("1.5", Err(SizeError)),
            ("1e3", Err(SizeError)),
            ("0x10", Err(SizeError)),
            ("1 vCPUs", Err(SizeError)),
            ("1 GB", Err(SizeError)),
            ("NaN vCPU", Err(SizeError)),
            ("1.1.1 vCPU", Err(SizeError)),
            ("2147483647", Ok(2_147_483_647)),
            ("2147483648", Err(SizeError)),
            ("99999999999999999999", Err(SizeError)),
            ("99999999999999999999 vCPU", Err(SizeError)),
            ("18446744073709551615 vCPU", Err(SizeError)),
            ("0.1234567890123 vCPU", Err(SizeError)),
            ("１ vCPU", Err(SizeError)),
        ] {
            assert_eq!(cpu_units(text), expected, "{text:?}");
        }
    }

    #[test]
    fn memory_is_a_number_of_mebibytes_or_of_gigabytes() {
        for (text, expected) in [
            ("512", Ok(512)),
            ("1GB", Ok(1024)),
            ("1 gb", Ok(1024)),
            ("0.5 GB", Ok(512)),
            ("120 GB", Ok(122_880)),
            ("512MB", Err(SizeError)),
            ("GB", Err(SizeError)),
            ("1 vCPU", Err(SizeError)),
        ] {
            assert_eq!(memory_mib(text), expected, "{text:?}");
        }
    }
}

//! Unique ids, access keys and paths.

use gantry_api::Fault;

use super::fault;

const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const FORTY_BITS: u128 = (1 << 40) - 1;
const SECRET_LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Fault> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| fault::unavailable(std::io::Error::other(error.to_string())))?;
    Ok(bytes)
}

fn letters(bytes: &[u8], of: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(of[usize::from(*byte) % of.len()])).collect()
}

/// A unique id: 21 characters that begin with `prefix`, for example `AIDA`.
pub(crate) fn unique_id(prefix: &str) -> Result<String, Fault> {
    Ok(format!("{prefix}{}", letters(&random::<17>()?, ID_LETTERS)))
}

/// A long-term access key id.
pub(crate) fn access_key_id() -> Result<String, Fault> {
    Ok(format!("AKIA{}", letters(&random::<16>()?, ID_LETTERS)))
}

/// A temporary access key id. It tells the account, as AWS's do: 40 bits of account, 40 random ones.
pub(crate) fn temporary_key_id(account: &str) -> Result<String, Fault> {
    let number: u64 = account.parse().unwrap_or(0);
    let random = random::<5>()?.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let bits = (u128::from(number) & FORTY_BITS) << 40 | random;
    let letter = |place: u32| char::from(ID_LETTERS[usize::from((bits >> (5 * place)) as u8 & 31)]);
    Ok(format!("ASIA{}", (0..16).rev().map(letter).collect::<String>()))
}

/// The account that a temporary access key id tells.
pub(crate) fn account_of_temporary_key(id: &str) -> Option<String> {
    let letters = id.strip_prefix("ASIA").filter(|letters| letters.len() == 16)?;
    let bits = letters.bytes().try_fold(0_u128, |bits, letter| {
        let value = ID_LETTERS.iter().position(|known| *known == letter)?;
        Some((bits << 5) | value as u128)
    })?;
    let number = (bits >> 40) & FORTY_BITS;
    (number < 1_000_000_000_000).then(|| format!("{number:012}"))
}

/// A secret access key.
pub(crate) fn secret() -> Result<String, Fault> {
    Ok(letters(&random::<40>()?, SECRET_LETTERS))
}

/// Holds a path against the rule that the model's pattern leaves open: no two slashes in a row.
pub(super) fn path(given: Option<String>) -> Result<String, Fault> {
    let path = given.unwrap_or_else(|| "/".to_owned());
    if path.contains("//") {
        return Err(fault::validation(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
             characters and/or / characters.",
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_have_the_lengths_of_the_real_ones() {
        assert_eq!(unique_id("AIDA").unwrap().len(), 21);
        assert_eq!((access_key_id().unwrap().len(), secret().unwrap().len()), (20, 40));
    }

    #[test]
    fn a_temporary_key_tells_its_account() {
        for account in ["000000000000", "111122223333", "999999999999"] {
            let id = temporary_key_id(account).unwrap();
            assert_eq!(id.len(), 20);
            assert_eq!(account_of_temporary_key(&id).as_deref(), Some(account), "{id}");
        }
        for id in ["ASIA", "ASIA0000000000000000", "AKIAAAAAAAAAAAAAAAAA", "ASIA7777777777777777"] {
            assert_eq!(account_of_temporary_key(id), None, "{id}");
        }
    }
}

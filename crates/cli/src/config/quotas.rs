//! The registry's quotas: keys of the table `[registry]`, and request rates in `[registry.rates]`.

use gantry_api::ecr;
use gantry_registry::quotas::Quotas;

use super::upstreams::RegistryFile;

/// More than one machine holds.
const COUNT_MAX: u64 = 1_000_000_000;
const RATE_MAX: u32 = 1_000_000;

/// What was said, checked; mistakes are added to `mistakes`.
pub(crate) fn build(
    file: &RegistryFile,
    variable: impl Fn(&str) -> Option<String> + Copy,
    mistakes: &mut Vec<String>,
) -> Quotas {
    let default = Quotas::default();
    let mut count = |key, file, default| super::number(key, variable, file, (1..=COUNT_MAX, default), mistakes);
    let repositories = count("registry.repositories_max", file.repositories_max, default.repositories);
    let images = count("registry.images_max", file.images_max, default.images);
    for (operation, rate) in &file.rates {
        if !ecr::SERVICE.operations.iter().any(|known| known.name == operation) {
            mistakes.push(format!("registry.rates.{operation}: ECR has no such operation"));
        }
        if !(1..=RATE_MAX).contains(rate) {
            mistakes.push(format!("registry.rates.{operation}: must be a number from 1 to {RATE_MAX}"));
        }
    }
    Quotas { repositories, images, rates: file.rates.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_come_from_the_file_and_mistakes_are_named() {
        let file: RegistryFile =
            toml::from_str("repositories_max = 5\nimages_max = 0\n[rates]\nPutImage = 7\nGuess = 1\nListImages = 0")
                .unwrap_or_default();
        let mut mistakes = Vec::new();
        let quotas = build(&file, |_| None, &mut mistakes);
        assert_eq!((quotas.repositories, quotas.rates.get("PutImage")), (5, Some(&7)));
        assert_eq!(
            mistakes,
            [
                "registry.images_max: must be a number from 1 to 1000000000",
                "registry.rates.Guess: ECR has no such operation",
                "registry.rates.ListImages: must be a number from 1 to 1000000",
            ]
        );
    }
}

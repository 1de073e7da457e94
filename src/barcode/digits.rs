//! Check digits of the GS1 General Specifications, section 7.9.

/// The check digit that belongs behind `digits` (values 0–9): weights 3 and 1 from the right (section 7.9.1).
pub fn check_digit(digits: &[u8]) -> u8 {
    let sum: u32 = digits.iter().rev().enumerate().map(|(i, d)| u32::from(*d) * if i % 2 == 0 { 3 } else { 1 }).sum();
    ((10 - sum % 10) % 10) as u8
}

/// Whether the last of `digits` is the check digit of those before it.
pub(crate) fn verifies(digits: &[u8]) -> bool {
    digits.split_last().is_some_and(|(check, rest)| check_digit(rest) == *check)
}

/// The digit that verifies a four- or five-digit price or weight inside a variable measure code (sections 7.9.2 to
/// 7.9.4); `None` for fields of another length.
pub fn field_check_digit(field: &[u8]) -> Option<u8> {
    match *field {
        [a, b, c, d] => {
            let sum = two_minus(a) + two_minus(b) + three(c) + five_minus(d);
            Some(sum * 3 % 10)
        }
        [a, b, c, d, e] => {
            let sum = five_plus(a) + two_minus(b) + five_minus(c) + five_plus(d) + two_minus(e);
            let rest = (10 - sum % 10) % 10;
            (0..10).find(|digit| five_minus(*digit) == rest)
        }
        _ => None,
    }
}

/// Weight `2−`: twice the digit, its tens subtracted from its units.
fn two_minus(digit: u8) -> u8 {
    let product = digit * 2;
    (product % 10 + 10 - product / 10) % 10
}

fn three(digit: u8) -> u8 {
    digit * 3 % 10
}

/// Weight `5+`: five times the digit, its tens added to its units.
fn five_plus(digit: u8) -> u8 {
    let product = digit * 5;
    (product % 10 + product / 10) % 10
}

/// Weight `5−`: five times the digit, its tens subtracted from its units.
fn five_minus(digit: u8) -> u8 {
    let product = digit * 5;
    (product % 10 + 10 - product / 10) % 10
}

/// ASCII digits as values; `None` if there is anything else.
pub(crate) fn values(text: &[u8]) -> Option<Vec<u8>> {
    text.iter().map(|b| b.is_ascii_digit().then(|| b - b'0')).collect()
}

/// The number that `digits` write.
pub(crate) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |n, d| n * 10 + u64::from(*d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_specification() {
        assert_eq!(check_digit(&[6, 2, 9, 1, 0, 4, 1, 5, 0, 0, 2, 1]), 3);
        assert_eq!(field_check_digit(&[2, 8, 7, 5]), Some(9));
        assert_eq!(field_check_digit(&[1, 4, 6, 8, 5]), Some(6));
        assert_eq!(field_check_digit(&[1, 2, 3]), None);
    }

    #[test]
    fn every_field_has_a_digit_and_single_errors_show() {
        for n in 0..100_000u32 {
            let field: Vec<u8> = format!("{n:05}").bytes().map(|b| b - b'0').collect();
            let digit = field_check_digit(&field).unwrap();
            let mut wrong = field.clone();
            wrong[(n % 5) as usize] = (wrong[(n % 5) as usize] + 1) % 10;
            assert_ne!(field_check_digit(&wrong), Some(digit), "{n:05}");
        }
    }
}

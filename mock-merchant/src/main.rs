//! `mock-merchant`: see `mock-merchant --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mock_merchant::cli::main()
}

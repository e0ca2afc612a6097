use tidegate_plugin::Rules;

#[derive(Clone, Copy, Rules)]
enum CardRule {
    /// The amount is not negative.
    #[rule(field = "amount", critical)]
    NegativeAmount,
    UnknownMerchant,
}

fn main() {}

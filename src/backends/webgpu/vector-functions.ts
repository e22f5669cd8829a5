// The helpers of functions.ts that vectors of four lanes need in a form of their own.

export const VECTOR_HELPERS: Readonly<Record<string, string>> = {
  f32x4_of_bits: `fn f32x4_of_bits(x: vec4<u32>) -> vec4<f32> {
  var bits = x; // no constant expression, which might not be NaN or infinite
  return bitcast<vec4<f32>>(bits);
}`,
  is_nan_x4: `fn is_nan_x4(x: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}`,
  min_f32x4: `fn min_f32x4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  return select(b, a, (a < b) | @is_nan_x4(a));
}`,
  max_f32x4: `fn max_f32x4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  return select(b, a, (b < a) | @is_nan_x4(a));
}`,
  i32_from_f32x4: `fn i32_from_f32x4(x: vec4<f32>) -> vec4<i32> {
  let whole = vec4<i32>(clamp(x, vec4<f32>(-2147483648f), vec4<f32>(2147483520f)));
  let signed = select(whole, vec4<i32>(2147483647i), x >= vec4<f32>(2147483648f));
  return select(signed, vec4<i32>(0i), @is_nan_x4(x));
}`,
  u32_from_f32x4: `fn u32_from_f32x4(x: vec4<f32>) -> vec4<u32> {
  let whole = vec4<u32>(clamp(x, vec4<f32>(0f), vec4<f32>(4294967040f)));
  let full = select(whole, vec4<u32>(0xffffffffu), x >= vec4<f32>(4294967296f));
  return select(full, vec4<u32>(0u), @is_nan_x4(x));
}`,
};

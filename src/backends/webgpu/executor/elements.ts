// Elements as arrays of JavaScript and as bytes on the device, which differ in one type: f64 is f32 there.

export interface Elements {
  typeOf(dtype: string): ElementArray;
  /** Bytes of an element in an array. */
  hostBytes(dtype: string): number;
  /** Bytes of an element on the device. */
  deviceBytes(dtype: string): number;
  /** The memory of a view. */
  bytesOf(data: ArrayBufferView): Uint8Array<ArrayBuffer>;
  volume(shape: readonly number[]): number;
  fromDevice(dtype: string, bytes: ArrayBuffer): ArrayBufferView;
  toDevice(dtype: string, data: ArrayBufferView): Uint8Array<ArrayBuffer>;
}

interface ElementArray {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, start?: number, length?: number): ArrayBufferView & ArrayLike<number | bigint>;
}

export function createElements(): Elements {
  const typeOf = (dtype: string): ElementArray => {
    if (dtype === 'f32') return Float32Array;
    if (dtype === 'f64') return Float64Array;
    if (dtype === 'i64') return BigInt64Array;
    if (dtype === 'u64') return BigUint64Array;
    if (dtype === 'i32') return Int32Array;
    if (dtype === 'u32') return Uint32Array;
    if (dtype === 'i16') return Int16Array;
    if (dtype === 'u16' || dtype === 'f16' || dtype === 'bf16') return Uint16Array;
    return dtype === 'i8' || dtype === 'i4' || dtype === 'i2' ? Int8Array : Uint8Array;
  };
  const hostBytes = (dtype: string): number => typeOf(dtype).BYTES_PER_ELEMENT;
  const bytesOf = (a: ArrayBufferView): Uint8Array<ArrayBuffer> =>
    new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength);
  return {
    typeOf,
    hostBytes,
    deviceBytes: (dtype) => (dtype === 'f64' ? 4 : hostBytes(dtype)),
    bytesOf,
    volume: (shape) => shape.reduce((n, d) => n * d, 1),
    fromDevice: (dtype, bytes) =>
      dtype === 'f64' ? Float64Array.from(new Float32Array(bytes)) : new (typeOf(dtype))(bytes),
    toDevice: (dtype, data) => bytesOf(dtype === 'f64' ? Float32Array.from(data as Float64Array) : data),
  };
}

package splice

// BufferSize is one read of the copying path.
const BufferSize = bufferSize

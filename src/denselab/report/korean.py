"""The pages of `denselab explain` in Korean, by their English sentences: what language.py looks up.

An English term in brackets after a Korean one is shown where a page uses it first. No particle that depends on the word
before it stands behind a value.
"""

SENTENCES = {
    # the head of explain.html
    "{network} on {picture}": "{network}: {picture}",
    "a drawn scene": "그린 장면",
    "receptive field": "수용 영역(receptive field)",
    "all": "전체",
    "the whole picture": "사진 전체",
    "pixels, of the logits": "픽셀, 로짓(logit) 기준",
    "parameters": "파라미터(parameter)",
    "{count} learnable": "학습 가능 {count}개",
    "multiply-adds": "곱셈-덧셈 수(multiply-adds)",
    "at {height}x{width}": "{height}x{width} 사진에서",
    "output stride": "출력 스트라이드(output stride)",
    "logits at {stride}": "로짓(logit)은 {stride}",
    "memory to predict": "예측에 드는 메모리",
    "estimate, batch 1": "어림값, 배치(batch) 1",
    "The weights are random, so this shows what the design does, not what training makes of it.": (
        "가중치가 무작위이므로 설계만으로 하는 일을 보여 줍니다. 학습하면 어떻게 되는지를 보여 주는 것은 아닙니다."
    ),
    # its sections
    "Result": "결과",
    "Probabilities": "확률",
    "Through the network": "네트워크를 따라가며",
    "Receptive field": "수용 영역(receptive field)",
    "Layer table": "층 표",
    "{height} x {width} pixels": "{height} x {width} 픽셀",
    "dark: unsure, pale: sure": "어두우면 불확실, 밝으면 확실",
    "picture": "사진",
    "label map": "라벨 맵(label map)",
    "both": "겹쳐 보기",
    "highest probability": "가장 높은 확률",
    "Probabilities of the classes": "클래스별 확률",
    "Not shown: the weights are random, and the softmax of random scores tells nothing of the picture.": (
        "보여 주지 않습니다. 가중치가 무작위이고, 무작위 점수의 소프트맥스(softmax)는 사진에 대해 아무것도 말해 주지 "
        "않기 때문입니다."
    ),
    "The softmax of the logits, class by class, from 0 (dark) to 1 (pale): {name} first, then those that take most "
    "of the picture.": (
        "클래스마다 로짓(logit)의 소프트맥스(softmax)를 0(어두움)부터 1(밝음)까지 보여 줍니다. 먼저 {name}, 그다음은 "
        "사진을 많이 차지하는 순서입니다."
    ),
    "{name}, mean {share}": "{name}, 평균 {share}",
    "The maps are in the order of computation. Each shows the mean of the absolute values of all channels, then "
    "the channels that vary most from place to place, each on its own scale from dark (lowest) to pale (highest). "
    "A map of class scores shows the class with the highest score in each cell, then the scores of the classes. "
    "Margins outside the picture are cut off.": (
        "특징 맵(feature map)은 계산 순서대로 놓여 있습니다. 맵마다 먼저 모든 채널(channel)의 절댓값 평균을, 이어서 "
        "자리에 따라 값이 가장 크게 달라지는 채널들을 보여 줍니다. 눈금은 그림마다 따로이고, 어두운 곳이 가장 낮은 "
        "값, 밝은 곳이 가장 높은 값입니다. 클래스 점수 맵(score map)은 칸마다 점수가 가장 높은 클래스를 먼저, 이어서 "
        "클래스별 점수를 보여 줍니다. 사진 밖의 여백은 잘라 냈습니다."
    ),
    "mean of all": "전체 평균",
    "channel {number}": "채널 {number}",
    "highest score": "가장 높은 점수",
    "{count} channels": "채널 {count}개",
    "scores of {count} classes": "클래스 {count}개의 점수",
    "one per pixel": "픽셀마다 하나",
    "one per {jump} pixels": "{jump}픽셀마다 하나",
    "{kind} · {height}x{width} cells, {step} · sees {field}": "{kind} · {height}x{width}칸, {step} · 수용 영역 {field}",
    "{count} pixels": "{count}픽셀",
    "The receptive field of a pixel": "픽셀 하나의 수용 영역(receptive field)",
    "effective receptive field": "유효 수용 영역(effective receptive field)",
    "How much each pixel moves the logit of {name} at row {row}, column {column} (the cross): the size of the "
    "gradient, mean over the channels, blurred a little, brightness by its square root (Luo et al. 2016).": (
        "행 {row}, 열 {column}(십자)의 {name} 로짓(logit)을 각 픽셀이 얼마나 움직이는지 보여 줍니다. 이것이 유효 "
        "수용 영역(effective receptive field)입니다. 기울기(gradient)의 크기를 채널에 걸쳐 평균하고 조금 흐리게 한 "
        "뒤, 그 제곱근을 밝기로 나타냈습니다(Luo 등 2016)."
    ),
    "In theory this pixel sees the whole picture.": "이론상 이 픽셀은 사진 전체를 봅니다.",
    "The blue frame, {height} x {width} pixels, is what the layers' windows let it see in theory.": (
        "파란 테두리({height} x {width} 픽셀)는 층의 창(window)으로 따져 이 픽셀이 이론상 볼 수 있는 범위입니다."
    ),
    "Here no pixel has an effect: the logit is constant.": (
        "여기서는 어떤 픽셀도 영향을 주지 않습니다. 로짓(logit)이 상수입니다."
    ),
    "Within the picture, {half} of the effect lies in a square of {side} pixels and {most} of the effect lies in a "
    "square of {large} pixels around it.": (
        "사진 안에서 영향의 {half}는 이 픽셀을 둘러싼 한 변 {side}픽셀의 정사각형에, {most}는 한 변 {large}픽셀의 "
        "정사각형에 들어 있습니다."
    ),
    # the layer table
    "{count} layers": "층 {count}개",
    "layer": "층",
    "kind": "종류",
    "kernel": "커널(kernel)",
    "stride": "스트라이드(stride)",
    "pad": "패딩(padding)",
    "dilation": "팽창률(dilation)",
    "channels": "채널(channel)",
    "output": "출력",
    "mult-adds": "곱셈-덧셈 수(multiply-adds)",
    "sees": "수용 영역(receptive field)",
    "conv": "합성곱(convolution)",
    "transposed conv": "전치 합성곱(transposed convolution)",
    "linear": "완전연결(fully connected)",
    "max pool": "최대 풀링(max pooling)",
    "avg pool": "평균 풀링(average pooling)",
    "global pool": "전역 풀링(global pooling)",
    "adaptive pool": "적응 풀링(adaptive pooling)",
    "unpool": "언풀링(unpooling)",
    "interpolation": "보간(interpolation)",
    "product": "행렬곱(matrix product)",
    "Made by DenseLab. This file needs no other file and no network.": (
        "DenseLab 이 만들었습니다. 이 파일에는 다른 파일도 인터넷도 필요 없습니다."
    ),
    # boxes.html
    "Box by box": "상자마다 따로",
    "Boxes of {source}": "{source}: 상자",
    "The prediction as boxes are added": "상자(box)를 더해 갈 때의 예측",
    "{count} boxes from {source}": "{source} 상자 {count}개",
    "1 box, the largest": "가장 큰 상자 1개",
    "{count} boxes, the largest": "가장 큰 상자 {count}개",
    "{told}. Boxes are added from the largest to the smallest: the small ones bring back small objects.": (
        "{told}. 상자는 큰 것부터 작은 것의 순서로 더합니다. 작은 상자가 작은 물체를 되살립니다."
    ),
    "Class maps of two models": "두 모델의 클래스별 맵",
    "{name}: labels": "{name}: 라벨",
    "The probability of each class, from 0 (dark) to 1 (pale): {first} run {way}, {second} as a whole.": (
        "클래스마다의 확률을 0(어두움)부터 1(밝음)까지 보여 줍니다. 사진을 넣은 방식: {first} – {way}, {second} – "
        "통째로."
    ),
    "box by box": "상자마다 따로",
    "as a whole": "통째로",
}


PHRASES = {
    # captions of maps: inspection/activations.py and the landmarks of models
    "the last map of stride {stride} on the way down": "내려가는 길에서 스트라이드(stride) {stride} 의 마지막 맵",
    "class scores before the last enlargement": "마지막 업샘플링(upsampling) 전의 클래스 점수",
    "class scores before enlargement": "업샘플링(upsampling) 전의 클래스 점수",
    "after {count} convolutions: {size} pixels seen": "합성곱(convolution) {count}번 뒤: {size} 픽셀을 봄",
    "scores of the convolutionalised classifier, stride {stride}": (
        "합성곱(convolution)으로 바꾼 분류기의 점수, 스트라이드(stride) {stride}"
    ),
    "the scores so far, enlarged to stride {stride}": (
        "여기까지의 점수를 스트라이드(stride) {stride} 까지 업샘플링(upsampling)한 것"
    ),
    "scores of the map at stride {stride} alone": "스트라이드(stride) {stride} 맵만의 점수",
    "scores of {map} alone, stride {stride}": "{map} 만의 점수, 스트라이드(stride) {stride}",
    "their sum, stride {stride}": "둘의 합, 스트라이드(stride) {stride}",
    "zoom-out features: conv1_1 to conv5_3, then fc7 of the whole picture": (
        "줌아웃 특징(zoom-out feature): conv1_1 부터 conv5_3 까지, 그리고 사진 전체의 fc7"
    ),
    "scores at stride 4, with the release's two spare channels": (
        "스트라이드(stride) 4 의 점수. 공개 코드의 남는 채널 둘도 있음"
    ),
    "enlarged to the picture's size": "사진 크기로 업샘플링(upsampling)한 것",
    "stride 8, the last pool that strides": "스트라이드(stride) 8, 맵을 줄이는 마지막 풀링(pooling)",
    "what fc6 sees, stride 8 still": "fc6 이 보는 것, 여전히 스트라이드(stride) 8",
    "{size} kernel, dilation {dilation}": "{size} 커널(kernel), 팽창률(dilation) {dilation}",
    "class scores on every 8th pixel": "8픽셀마다의 클래스 점수",
    "scores of the branch from {map}, stride {stride}": (
        "{map} 에서 나온 가지(branch)의 점수, 스트라이드(stride) {stride}"
    ),
    "up-convolution {number}: the deep map, enlarged": (
        "업컨볼루션(up-convolution) {number}: 깊은 맵을 업샘플링(upsampling)한 것"
    ),
    "step {number} of the expanding path: with the skip's borders": (
        "늘어나는 길의 {number}단계: 스킵 연결(skip connection)이 가져온 경계와 함께"
    ),
    "fc6_deconv: the whole picture's 7x7 cells come back": "fc6_deconv: 사진 전체의 7x7 칸이 되살아남",
    "{layer}: each value back at the place of its maximum": "{layer}: 각 값을 최댓값이 있던 자리로 되돌림",
    "{layer}: the gaps are filled": "{layer}: 빈틈을 채움",
    "{layer}: decoder block {number} has filled the gaps": "{layer}: 디코더(decoder) 블록 {number} 에서 빈틈을 채움",
    "{layer}: the scores of the classes": "{layer}: 클래스 점수",
    "class scores of the branch {layer}, rate {rate}": "가지(branch) {layer} 의 클래스 점수, 비율(rate) {rate}",
    "the sum of the branches": "가지(branch)들의 합",
    "class scores of the picture at scale {scale}": "배율(scale) {scale} 사진의 클래스 점수",
    "their element-wise maximum": "원소별 최댓값",
    "image pooling: the whole picture": "이미지 풀링(image pooling): 사진 전체",
    "1x1 convolution": "1x1 합성곱(convolution)",
    "3x3 atrous convolution, rate {rate}": "3x3 아트루스 합성곱(atrous convolution), 비율(rate) {rate}",
    "all branches, projected": "모든 가지(branch)를 이어 붙여 투영한 것",
    "low-level features, 48 channels": "저수준 특징(low-level feature), 채널 48개",
    "decoder, 3x3 convolution {number}": "디코더(decoder), 3x3 합성곱(convolution) {number}",
    "ASPP: 3x3, rate {rate}": "ASPP: 3x3, 비율(rate) {rate}",
    "ASPP: image pooling": "ASPP: 이미지 풀링(image pooling)",
    "ASPP: all five projected": "ASPP: 다섯 가지를 이어 붙여 투영한 것",
    "before the scores": "점수를 내기 직전",
    "log-marginals after mean field": "평균장(mean field) 뒤의 로그 주변확률(log-marginal)",
    # what some networks have in place of a paper
    "FCN head on a dilated ResNet (torchvision)": "팽창된(dilated) ResNet 위의 FCN 헤드 (torchvision)",
    "no paper: the first idea that FCN's introduction argues against": "논문 없음: FCN 의 서론이 반박하는 첫 생각",
    # inference/instances.py
    "instance-wise: at most {count} boxes from {source}; objects pasted by score": (
        "인스턴스별(instance-wise): {source} 상자 최대 {count}개, 물체를 점수 순서로 붙임"
    ),
    "instance-wise: at most {count} boxes from {source}, and the whole picture; {join} of {scores}": (
        "인스턴스별(instance-wise): {source} 상자 최대 {count}개와 사진 전체, {scores} 의 {join}"
    ),
    "instance-wise: at most {count} boxes from {source}; {join} of {scores}": (
        "인스턴스별(instance-wise): {source} 상자 최대 {count}개, {scores} 의 {join}"
    ),
}


TITLES = {  # of networks
    "the window around every 8th pixel": "8픽셀마다 둘레의 창(window)",
    "convolutions without pools at full resolution": "원래 해상도에서 풀링(pooling) 없이 합성곱(convolution)만",
    "FCN-8s of the paper, upsampling learnt": "논문의 FCN-8s, 학습되는 업샘플링(upsampling)",
    "hypercolumns of a box, 10x10 classifiers": "상자의 하이퍼칼럼(hypercolumn), 10x10 분류기",
    "hypercolumns of whole pictures": "사진 전체의 하이퍼칼럼(hypercolumn)",
    "{title}, two hidden layers": "{title}, 은닉층(hidden layer) 둘",
    "zoom-out features of superpixels": "슈퍼픽셀(superpixel)의 줌아웃 특징(zoom-out feature)",
    "zoom-out features at every 4th pixel": "4픽셀마다의 줌아웃 특징(zoom-out feature)",
    "DeepLab-MSc-LargeFOV, multi-scale features": "DeepLab-MSc-LargeFOV, 여러 배율의 특징(multi-scale feature)",
    "DeepLab (basic), 4x4 kernel at input stride 4": (
        "기본 DeepLab, 입력 스트라이드(input stride) 4 에서 4x4 커널(kernel)"
    ),
    "DeepLab-4x4, input stride 8": "DeepLab-4x4, 입력 스트라이드(input stride) 8",
    "DeepLab-MSc, 4x4 kernel": "DeepLab-MSc, 4x4 커널(kernel)",
    "DeepLabV3, multi-grid and ASPP": "DeepLabV3, 다중 격자(multi-grid)와 ASPP",
    "U-Net, padded, batch normalisation": "U-Net, 패딩(padding) 있음, 배치 정규화(batch normalization)",
    "U-Net, padded, a quarter of the channels": "U-Net, 패딩(padding) 있음, 채널은 4분의 1",
    "U-Net of the paper, unpadded, mirrored border": "논문의 U-Net, 패딩(padding) 없음, 거울처럼 비춘 경계",
    "U-Net of the authors' release, unpadded, mirrored border": (
        "저자들이 공개한 U-Net, 패딩(padding) 없음, 거울처럼 비춘 경계"
    ),
    "DeconvNet, 1024 channels in fc6 and fc7": "DeconvNet, fc6 과 fc7 의 채널 1024개",
    "Bayesian SegNet of the model zoo, a layer more": "모델 저장소(model zoo)의 Bayesian SegNet, 층 하나 더",
    "{title}, Caffe geometry": "{title}, Caffe 의 위치 맞춤",
    "{title}, padded": "{title}, 패딩(padding) 있음",
    "{title}, multi-scale inputs": "{title}, 여러 배율의 입력(multi-scale input)",
    "{title}, as released: no decoder": "{title}, 공개된 그대로: 디코더(decoder) 없음",
    "{title}, as released": "{title}, 공개된 그대로",
    "{title}, torchvision's stem and strides": "{title}, torchvision 의 스템(stem)과 스트라이드(stride)",
    "{title}, torchvision's form": "{title}, torchvision 의 형태",
    "{title} on {encoder}": "{title}, 인코더(encoder) {encoder}",
}
